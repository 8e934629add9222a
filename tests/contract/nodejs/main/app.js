'use strict';

const fs = require('fs');

let seen = 0;

const CASES = {
  echo: (event) => ({ echo: event.value }),
  raise: () => {
    throw new TypeError('wanted: \u00e4');
  },
  log: (event) => {
    for (let line = 1; line <= event.lines; ++line) {
      process.stdout.write(`out ${line}\n`);
      process.stderr.write(`err ${line}\n`);
    }
    return null;
  },
  large: (event) => ({ length: event.padding.length, text: 'x'.repeat(event.bytes) }),
  context: (event, context) => ({
    requestId: context.awsRequestId,
    functionName: context.functionName,
    functionVersion: context.functionVersion,
    memory: context.memoryLimitInMB,
    arn: context.invokedFunctionArn,
    remaining: context.getRemainingTimeInMillis(),
    logStream: context.logStreamName,
    custom: context.clientContext?.custom,
  }),
  environment: () => ({
    handler: process.env._HANDLER,
    region: process.env.AWS_REGION,
    value: process.env.CONTRACT_VALUE,
    cwd: process.cwd(),
    root: process.env.LAMBDA_TASK_ROOT,
  }),
  tmp: () => {
    fs.appendFileSync('/tmp/contract', '.');
    return { bytes: fs.statSync('/tmp/contract').size };
  },
  sleep: async (event) => {
    await new Promise((resolve) => setTimeout(resolve, 1000 * event.seconds));
    return { slept: event.seconds };
  },
  memory: () => {
    const kept = [];
    for (;;) kept.push(Buffer.alloc(1 << 20, 1));
  },
  exit: () => process.exit(3),
  signal: async () => {
    process.kill(process.pid, 'SIGSEGV');
    await new Promise((resolve) => setTimeout(resolve, 60000));
  },
  count: () => ({ count: seen }),
  unserialisable: () => ({ number: 1n }),
};

exports.handler = async (event, context) => {
  ++seen;
  return CASES[event.case](event, context);
};
