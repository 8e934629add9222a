'use strict';
// The Node.js bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
//
// Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
// every restored VM while a caller waits, so it touches little memory and reads as few files as it can.
//
// While it waits for the host it blocks in a read, and timers stand still: as on AWS Lambda, where an environment is
// frozen between two requests.

const crypto = require('crypto');
const fs = require('fs');
const Module = require('module');
const path = require('path');
const url = require('url');
const util = require('util');

const hooks = require('./snapstart/hooks.js');
const native = require('./native.node');

// Here for the functions' sake: what most functions load is in the snapshot already.
for (const name of [
  'assert', 'async_hooks', 'buffer', 'child_process', 'events', 'fs/promises', 'http', 'https', 'os', 'perf_hooks',
  'querystring', 'stream', 'stream/promises', 'string_decoder', 'timers/promises', 'zlib',
]) {
  require(name);
}

const CHANNEL_FD = 3;
const CONTROL_IN_FD = 4;
const CONTROL_OUT_FD = 5;

const TASK_ROOT = '/srv';
// The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run
// it.
const LAMBDA_TASK_ROOT = '/var/task';
const CONFIGURATION = '.snapfaas/function.json';
const RUNTIME_FOLDER = '/usr/lib/snapfaas';
// src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
const MAX_FRAME_BYTES = 6291556 + 64 * 1024;
const MAX_RESPONSE_BYTES = 6291556;
// An error report must fit a frame whatever a function puts into it.
const MAX_MESSAGE_CHARACTERS = 256 * 1024;
const MAX_STACK_LINES = 100;
const MAX_STACK_LINE_CHARACTERS = 4 * 1024;

// Where the handler of a function may be that was not deployed.
const MODULES = ['app', 'workload', 'index'];
const SUFFIXES = ['.js', '.mjs', '.cjs'];

// What V8 has seen a few times it has made ready to be run; more gains nothing.
const WARM_UP_ROUNDS = 10;

// The host has broken the framing: the channel is of no further use.
class ChannelError extends Error {}

// The function cannot be loaded. `report` is the error to answer with.
class LoadError extends Error {
  constructor(report) {
    super(report.errorMessage);
    this.report = report;
  }
}

// ---- descriptors ----------------------------------------------------------------------------------------------------

const sleeper = new Int32Array(new SharedArrayBuffer(4));

function sleep(milliseconds) {
  Atomics.wait(sleeper, 0, 0, milliseconds);
}

// As `call`, which reads or writes, on a descriptor that may be in non-blocking mode.
function patiently(call) {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (error.code !== 'EAGAIN' && error.code !== 'EINTR') throw error;
      sleep(1);
    }
  }
}

function writeAll(fd, data) {
  for (let at = 0; at < data.length; ) at += patiently(() => fs.writeSync(fd, data, at));
}

// Frames over a descriptor that is read and written in pieces of any size.
class Channel {
  constructor(readFd, writeFd) {
    this.readFd = readFd;
    this.writeFd = writeFd;
    // What is read ahead lies from `start` to `end`.
    this.buffer = Buffer.alloc(8192);
    this.start = 0;
    this.end = 0;
  }

  // The next [kind, payload], the latter as text.
  readFrame() {
    let length;
    while ((length = this.buffer.subarray(this.start, this.end).indexOf(10)) < 0) {
      if (this.end - this.start > 64) throw new ChannelError('a frame header without an end');
      if (this.start > 0) this.buffer.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
      this.end += this.fill(this.buffer, this.end);
    }
    const header = this.buffer.latin1Slice(this.start, this.start + length);
    this.start += length + 1;
    const match = /^([^ ]+) (\d{1,9})$/.exec(header);
    if (!match || Number(match[2]) > MAX_FRAME_BYTES) throw new ChannelError('a malformed frame header');
    return [match[1], this.readPayload(Number(match[2]))];
  }

  writeFrame(kind, payload) {
    writeAll(this.writeFd, Buffer.from(`${kind} ${Buffer.byteLength(payload)}\n${payload}`));
  }

  readPayload(size) {
    if (size <= this.end - this.start) {
      this.start += size;
      return this.buffer.utf8Slice(this.start - size, this.start);
    }
    const payload = Buffer.allocUnsafeSlow(size);
    let have = this.buffer.copy(payload, 0, this.start, this.end);
    this.start = this.end = 0;
    while (have < size) have += this.fill(payload, have);
    return payload.utf8Slice(0, size);
  }

  // Reads what there is into `buffer`, from `at` on; at least a byte.
  fill(buffer, at) {
    // A virtio port reads as ended while no host is connected to it; the host may come back.
    for (let pause = 1; ; pause = Math.min(2 * pause, 50)) {
      const got = patiently(() => fs.readSync(this.readFd, buffer, at, buffer.length - at, null));
      if (got > 0) return got;
      sleep(pause);
    }
  }
}

function readLine(fd) {
  // The agent says nothing more before it has its answer.
  const piece = Buffer.alloc(256);
  let line = '';
  while (!line.endsWith('\n')) {
    const got = patiently(() => fs.readSync(fd, piece));
    if (got === 0) throw new Error('the agent is gone');
    line += piece.latin1Slice(0, got);
  }
  return line.trimEnd();
}

function writeLine(fd, text) {
  writeAll(fd, Buffer.from(`${text}\n`));
}

// ---- random numbers -------------------------------------------------------------------------------------------------

// xoshiro256+, each word as its upper and its lower half. V8's own generator cannot be seeded again, and hands out
// numbers that it has drawn ahead.
const state = new Int32Array(8);

function random() {
  const h0 = state[0], l0 = state[1], h1 = state[2], l1 = state[3];
  let h2 = state[4], l2 = state[5], h3 = state[6], l3 = state[7];
  const low = (l0 >>> 0) + (l3 >>> 0);
  const high = (h0 + h3 + (low > 0xffffffff ? 1 : 0)) >>> 0;
  h2 ^= h0;
  l2 ^= l0;
  h3 ^= h1;
  l3 ^= l1;
  state[2] = h1 ^ h2;
  state[3] = l1 ^ l2;
  state[0] = h0 ^ h3;
  state[1] = l0 ^ l3;
  state[4] = h2 ^ ((h1 << 17) | (l1 >>> 15));
  state[5] = l2 ^ (l1 << 17);
  state[6] = (l3 << 13) | (h3 >>> 19);
  state[7] = (h3 << 13) | (l3 >>> 19);
  return (high * 0x200000 + ((low >>> 11) & 0x1fffff)) / 0x20000000000000;
}

// How many calls use up what Node.js draws ahead for these two.
const DRAWN_AHEAD = { randomInt: 1024, randomUUID: 128 };
// The originals of those that the function has called.
const drawnFrom = new Map();

function setUpRandomness() {
  Object.defineProperty(Math, 'random', { value: random, writable: true, configurable: true });
  for (const name of Object.keys(DRAWN_AHEAD)) {
    const original = crypto[name];
    const watched = (...values) => {
      drawnFrom.set(name, original);
      return original(...values);
    };
    crypto[name] = Object.defineProperty(watched, 'name', { value: name });
  }
  const original = crypto.webcrypto.randomUUID;
  Object.getPrototypeOf(crypto.webcrypto).randomUUID = function randomUUID() {
    drawnFrom.set('randomUUID', crypto.randomUUID);
    return original.call(this);
  };
  Module.syncBuiltinESMExports();
}

// Every generator that was seeded in the snapshot would give the same numbers in each VM restored from it.
function reseed(seed) {
  // Hashed, as from a state of zeros and little else the generator takes long to get away.
  const digest = crypto.createHash('sha256').update(seed).digest();
  for (let word = 0; word < 8; ++word) state[word] = digest.readInt32LE(4 * word);
  if (!native.reseedOpenssl()) throw new Error('OpenSSL cannot be reseeded');
  for (const [name, draw] of drawnFrom) {
    for (let call = 0; call < DRAWN_AHEAD[name]; ++call) name === 'randomInt' ? draw(2) : draw();
  }
  drawnFrom.clear();
}

// ---- error reports --------------------------------------------------------------------------------------------------

function makeReport(errorType, message, stack = [], requestId = '') {
  if (stack.length > MAX_STACK_LINES) {
    const half = MAX_STACK_LINES / 2;
    stack = [...stack.slice(0, half), `    ... ${stack.length - 2 * half} more ...`, ...stack.slice(-half)];
  }
  return {
    errorMessage: String(message).slice(0, MAX_MESSAGE_CHARACTERS),
    errorType: String(errorType).slice(0, MAX_STACK_LINE_CHARACTERS),
    requestId,
    stackTrace: stack.map((line) => line.slice(0, MAX_STACK_LINE_CHARACTERS)),
  };
}

// The stack of the function alone, as AWS Lambda's runtime has it: the error itself, then its frames.
function ownStack(error) {
  const lines = String(error.stack).split('\n');
  const own = lines.findIndex((line) => line.includes(`${RUNTIME_FOLDER}/`) && /^ +at /.test(line));
  if (own >= 0) lines.length = own;
  // What Node.js has done between this file and the function: loading a module, running a timer.
  while (/^ +at (.*\()?(node:internal\/|<anonymous>)/.test(lines.at(-1))) lines.pop();
  return lines;
}

// Keeps the error with its report, unseen by JSON.
const CAUSE = Symbol('cause');

// As AWS Lambda's runtime says it: of what is no Error, the kind of value.
function reportError(error, errorType, requestId) {
  try {
    if (util.types.isNativeError(error) || error instanceof Error) {
      const report = makeReport(errorType ?? error.name, error.message, ownStack(error), requestId);
      report[CAUSE] = error;
      return report;
    }
    return makeReport(errorType ?? typeof error, String(error), [], requestId);
  } catch {
    // Its properties, or its text, fail themselves.
    return makeReport(errorType ?? 'Error', '<unprintable>', [], requestId);
  }
}

function reportRejection(reason, requestId) {
  const report = reportError(reason, 'Runtime.UnhandledPromiseRejection', requestId);
  if (report[CAUSE]) report.errorMessage = `${reason.name}: ${report.errorMessage}`;
  return report;
}

// ---- what the event loop does for the function ----------------------------------------------------------------------

// Who is told of an error, or a promise's rejection, that nobody has caught, and says whether it counts there; and who
// is told that there is nothing left to wait for. There is always one while the loop runs.
let watcher;

function watchEventLoop() {
  process.on('uncaughtException', (error) => {
    if (!watcher.failed(error)) console.error('Uncaught Exception', error);
  });
  process.on('unhandledRejection', (reason) => {
    if (!watcher.rejected(reason)) console.error('Unhandled Promise Rejection', reason);
  });
  // Something must be left to do, or this was the loop's last turn.
  process.on('beforeExit', () => setImmediate(() => watcher.idle()));
  // A function may close what it prints to.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

// The value of `start()`, a promise perhaps. Rejects as well when an error that nobody catches gets in its way, or when
// nothing is left that could settle it.
function watched(start) {
  return new Promise((resolve, reject) => {
    let settled = false;
    const once = (settle) => (value) => {
      const first = !settled;
      settled = true;
      settle(value);
      return first;
    };
    const fail = once(reject);
    const idle = () => fail(new Error('There is nothing left to wait for, and it has not come to an end'));
    watcher = { failed: fail, rejected: fail, idle };
    Promise.resolve(start()).then(once(resolve), fail);
  });
}

// ---- events ---------------------------------------------------------------------------------------------------------

// What a Lambda handler gets as its second argument. Of a deployed function the environment says what the host does
// not.
function makeContext(values) {
  const known = process.env;
  const requestId = String(values.requestId || crypto.randomUUID({ disableEntropyCache: true }));
  const functionName = String(values.functionName || known.AWS_LAMBDA_FUNCTION_NAME || 'function');
  const functionVersion = String(values.functionVersion || known.AWS_LAMBDA_FUNCTION_VERSION || '$LATEST');
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion,
    functionName,
    memoryLimitInMB: String(values.memoryLimitInMB || known.AWS_LAMBDA_FUNCTION_MEMORY_SIZE || ''),
    logGroupName: known.AWS_LAMBDA_LOG_GROUP_NAME || `/aws/lambda/${functionName}`,
    logStreamName:
      known.AWS_LAMBDA_LOG_STREAM_NAME || makeLogStreamName(functionVersion, requestId.replaceAll('-', '')),
    clientContext: values.clientContext ?? undefined,
    identity: undefined,
    invokedFunctionArn: String(values.invokedFunctionArn || ''),
    awsRequestId: requestId,
    getRemainingTimeInMillis: () =>
      typeof values.deadlineMs === 'number' ? Math.max(0, Math.floor(values.deadlineMs - Date.now())) : 0,
  };
}

function makeLogStreamName(version, unique) {
  return `${new Date().toISOString().slice(0, 10).replaceAll('-', '/')}/[${version}]${unique}`;
}

// [kind, payload] for what the handler answers.
function encodeResponse(response, requestId) {
  let data;
  try {
    data = JSON.stringify(response === undefined ? null : response);
    if (data === undefined) throw new TypeError(`a ${typeof response} has no JSON`);
  } catch (error) {
    const message = `Unable to stringify response body: ${reportError(error).errorMessage}`;
    return ['error', makeReport('Runtime.MarshalError', message, [], requestId)];
  }
  const size = Buffer.byteLength(data);
  if (size > MAX_RESPONSE_BYTES) {
    const message =
      `Response payload size (${size} bytes) exceeded maximum allowed payload size (${MAX_RESPONSE_BYTES} bytes).`;
    return ['error', makeReport('Function.ResponseSizeTooLarge', message, [], requestId)];
  }
  return ['result', data];
}

// Runs one event. `reply` is called once, with ('result', text) or ('error', report).
function answer(handler, payload, contextValues, reply) {
  const context = makeContext(contextValues);
  const requestId = context.awsRequestId;
  let answered = false;
  const settle = (kind, data) => {
    const first = !answered; // or a late callback
    answered = true;
    if (first) reply(kind, data);
    return first;
  };
  let event;
  try {
    event = JSON.parse(payload);
  } catch (error) {
    settle('error', makeReport('Runtime.UnmarshalError', `Event is not JSON: ${error.message}`, [], requestId));
    return;
  }
  const succeed = (value) => settle(...encodeResponse(value, requestId));
  const fail = (error) => settle('error', reportError(error, undefined, requestId));
  const isError = (error) => error !== undefined && error !== null;
  // What is answered when the event loop has nothing left to do.
  let last = null;
  let calledBack = false;
  const callback = (error, value) => {
    calledBack = true;
    last = value;
    if (isError(error)) fail(error);
    else if (!context.callbackWaitsForEmptyEventLoop) succeed(value);
  };
  context.done = (error, value) => (isError(error) ? fail(error) : succeed(value));
  context.succeed = succeed;
  context.fail = (error) => fail(isError(error) ? error : 'handled');
  watcher = {
    failed: fail,
    rejected: (reason) => settle('error', reportRejection(reason, requestId)),
    idle: () => succeed(last),
  };
  try {
    const returned = handler(event, context, callback);
    if (typeof returned?.then === 'function') returned.then(succeed, fail);
    // Beyond AWS, which answers null: a handler may return its answer without a promise.
    else if (!calledBack && returned !== undefined) last = returned;
  } catch (error) {
    fail(error);
  }
}

// Answers events for ever. `respond` is called with (payload, context values, reply).
function serve(channel, respond) {
  let contextValues = {};
  const next = orGiveUp(() => {
    for (;;) {
      const [kind, payload] = channel.readFrame();
      if (kind === 'event') {
        respond(payload, contextValues, reply);
        return;
      }
      if (kind !== 'context') throw new ChannelError(`a frame of unknown kind '${kind.slice(0, 40)}'`);
      contextValues = parseContext(payload);
    }
  });
  const reply = orGiveUp((kind, data) => {
    channel.writeFrame(kind, kind === 'result' ? data : JSON.stringify(data));
    // The loop gets a turn between two events, for what the function has left running.
    setImmediate(next);
  });
  setImmediate(next);
}

function parseContext(payload) {
  let values;
  try {
    values = JSON.parse(payload);
  } catch (error) {
    throw new ChannelError(`a context that is not JSON: ${error.message}`);
  }
  return values !== null && typeof values === 'object' && !Array.isArray(values) ? values : {};
}

// `run`, whose failure is none of the function's: it ends the bootstrap.
function orGiveUp(run) {
  return (...values) => {
    try {
      run(...values);
    } catch (error) {
      giveUp(error);
    }
  };
}

function giveUp(error) {
  const text = error instanceof ChannelError ? `the host sent ${error.message}` : error.stack;
  fs.writeSync(2, `snapfaas-bootstrap: ${text}\n`);
  process.exit(1);
}

// ---- the log of a deployed function ---------------------------------------------------------------------------------

// Of the event that is being answered. AWS Lambda's runtime writes "undefined" while there is none.
let currentRequestId;

function writeLog(level, text) {
  process.stdout.write(`${new Date().toISOString()}\t${currentRequestId}\t${level}\t${text}\n`);
}

// The console's lines as AWS Lambda writes them.
function setUpConsole() {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR', trace: 'TRACE' };
  for (const [method, level] of Object.entries(levels)) {
    console[method] = (...values) => writeLog(level, util.format(...values));
  }
}

function logReport(title, report) {
  const { errorType, errorMessage, stackTrace: stack } = report;
  let text;
  try {
    text = JSON.stringify({ errorType, errorMessage, ...report[CAUSE], stack });
  } catch {
    text = JSON.stringify({ errorType, errorMessage, stack });
  }
  writeLog('ERROR', `${title} \t${text}`);
}

// As `answer`, with errors in the log.
function answerDeployed(handler, payload, contextValues, reply) {
  currentRequestId = String(contextValues.requestId || '');
  answer(handler, payload, contextValues, (kind, data) => {
    if (kind === 'error') logReport('Invoke Error', data);
    reply(kind, data);
  });
}

// ---- the function ---------------------------------------------------------------------------------------------------

// Whether Node.js takes `file` for an ES module.
function isEsModule(file) {
  if (!file.endsWith('.js')) return file.endsWith('.mjs');
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const description = path.join(folder, 'package.json');
    if (isFile(description)) {
      try {
        return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
      } catch {
        return false; // require() says what is wrong with it
      }
    }
    if (folder === path.dirname(folder) || path.basename(folder) === 'node_modules') return false;
  }
}

// What the module exports; `name` is what messages call it. Throws LoadError.
async function loadModule(name, load) {
  try {
    return await watched(load);
  } catch (error) {
    const known = error instanceof SyntaxError ? 'Runtime.UserCodeSyntaxError'
      : /^(ERR_)?MODULE_NOT_FOUND$/.test(error?.code) ? 'Runtime.ImportModuleError' : undefined;
    const report = reportError(error, known, '');
    if (known) report.errorMessage = `${error.name}: ${withoutBootstrap(report.errorMessage)}`;
    report.stackTrace = withoutBootstrap(report.stackTrace.join('\n')).split('\n').filter(Boolean);
    throw new LoadError(report);
  }
}

// A message about a missing module names who has asked for it: this file need not be named.
function withoutBootstrap(message) {
  return message.replace(`\n- ${__filename}`, '').replace(/\nRequire stack:$/, '').replace(
    ` imported from ${__filename}`, '');
}

function loadFile(file) {
  return isEsModule(file) ? import(url.pathToFileURL(file).href) : require(file);
}

// An exception, which a missing file makes of most functions, costs more than all else here.
function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

// Calls a handle(event), whose value is the answer.
function takingEventAlone(handle) {
  return async (event) => handle(event);
}

// The handler of a function that was not deployed. Throws LoadError.
async function findHandler(root) {
  let without;
  for (const name of MODULES) {
    const file = SUFFIXES.map((suffix) => path.join(root, name + suffix)).find(isFile);
    if (!file) continue;
    const exported = await loadModule(name, () => loadFile(file));
    if (typeof exported?.handler === 'function') return exported.handler;
    if (typeof exported?.handle === 'function') return takingEventAlone(exported.handle);
    without ??= name;
  }
  if (without) {
    const message = `Module '${without}' has neither handler(event, context) nor handle(event)`;
    throw new LoadError(makeReport('Runtime.HandlerNotFound', message));
  }
  const message = 'Cannot find module: no app.js, workload.js or index.js';
  throw new LoadError(makeReport('Runtime.ImportModuleError', message));
}

// The module of a deployed function, found as AWS Lambda does: the file as it is named, then with each suffix, then as
// require() looks for it.
async function loadConfiguredModule(name) {
  const base = path.resolve(LAMBDA_TASK_ROOT, name);
  const file = ['', ...SUFFIXES].map((suffix) => base + suffix).find(isFile);
  const find = () => require.resolve(name, { paths: [LAMBDA_TASK_ROOT] });
  return loadModule(name, () => (file ? loadFile(file) : require(find())));
}

// The handler that a deployed function names: `folder/module.function`, where the function may lie deeper in what the
// module exports. Throws LoadError.
async function configuredHandler(name) {
  if (name.includes('..')) {
    const message = `'${name}' is not a valid handler name. Use absolute paths when possible.`;
    throw new LoadError(makeReport('Runtime.MalformedHandlerName', message));
  }
  const match = /^((?:.*\/)?[^/.]+)\.([^/]+)$/.exec(name);
  if (!match) throw new LoadError(makeReport('Runtime.MalformedHandlerName', 'Bad handler'));
  const exported = await loadConfiguredModule(match[1]);
  const handler = match[2].split('.').reduce((value, key) => value?.[key], exported);
  if (handler === undefined || handler === null) {
    throw new LoadError(makeReport('Runtime.HandlerNotFound', `${name} is undefined or not exported`));
  }
  if (typeof handler !== 'function') {
    throw new LoadError(makeReport('Runtime.HandlerNotFound', `${name} is not a function`));
  }
  return /(^|\.)handle$/.test(match[2]) && handler.length <= 1 ? takingEventAlone(handler) : handler;
}

// How a deployed function is to be run; nothing of a mere folder. Throws LoadError.
function readConfiguration() {
  const file = path.join(TASK_ROOT, CONFIGURATION);
  if (!isFile(file)) return undefined;
  let configuration;
  try {
    configuration = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    throw new LoadError(makeReport('Runtime.InitError', `${CONFIGURATION} cannot be read: ${error.message}`));
  }
  if (typeof configuration?.handler !== 'string') {
    throw new LoadError(makeReport('Runtime.InitError', `${CONFIGURATION} names no handler`));
  }
  return configuration;
}

function isDeployed() {
  return '_HANDLER' in process.env;
}

// One for each microVM, as one snapshot gives many.
function renewLogStreamName() {
  const version = process.env.AWS_LAMBDA_FUNCTION_VERSION || '$LATEST';
  process.env.AWS_LAMBDA_LOG_STREAM_NAME = makeLogStreamName(version, crypto.randomBytes(16).toString('hex'));
}

function setUpEnvironment(configuration) {
  const name = String(configuration.functionName || 'function');
  const region = String(configuration.region || 'us-east-1');
  Object.assign(process.env, {
    _HANDLER: configuration.handler,
    AWS_DEFAULT_REGION: region,
    AWS_EXECUTION_ENV: `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(configuration.memorySize || ''),
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: String(configuration.functionVersion || '$LATEST'),
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_REGION: region,
    LAMBDA_RUNTIME_DIR: RUNTIME_FOLDER,
    LAMBDA_TASK_ROOT,
    NODE_PATH: LAMBDA_TASK_ROOT,
  });
  renewLogStreamName();
  // The function's own go last.
  for (const [key, value] of Object.entries(configuration.environment ?? {})) {
    if (typeof value !== 'string' || key.includes('=') || key.includes('\0') || value.includes('\0')) {
      throw new LoadError(makeReport('Runtime.InitError', `the environment variable ${key} cannot be set`));
    }
    process.env[key] = value;
  }
  // Node.js has read these when it started.
  Module._initPaths();
  if (/(^| )--enable-source-maps( |$)/.test(process.env.NODE_OPTIONS)) process.setSourceMapsEnabled(true);
}

// What answers the events of a deployed function. Throws LoadError.
async function loadDeployed(configuration) {
  setUpEnvironment(configuration);
  setUpConsole();
  process.chdir(LAMBDA_TASK_ROOT);
  const handler = await configuredHandler(configuration.handler);
  return (...values) => answerDeployed(handler, ...values);
}

// The same of a folder that was not deployed.
async function loadFolder() {
  process.chdir(TASK_ROOT);
  const handler = await findHandler(TASK_ROOT);
  return (...values) => answer(handler, ...values);
}

// ---- the agent's commands -------------------------------------------------------------------------------------------

// What answers events, after the agent's `command`. Throws LoadError.
async function load(command) {
  const [word, seed, snapshot] = command.split(' ');
  if (word === 'fail') throw new LoadError(makeReport('Runtime.InitError', command.slice('fail '.length)));
  if (word !== 'load') throw new Error(`the agent said '${command.slice(0, 80)}'`);
  process.env.AWS_LAMBDA_INITIALIZATION_TYPE = snapshot ? 'snap-start' : 'on-demand';
  reseed(seed);
  const configuration = readConfiguration();
  const respond = configuration ? await loadDeployed(configuration) : await loadFolder();
  if (snapshot) {
    await runHooks(hooks.runBeforeSnapshot);
    native.settleHeap();
  }
  return respond;
}

// Throws LoadError.
async function runHooks(run) {
  try {
    await watched(run);
  } catch (error) {
    throw new LoadError(reportError(error, undefined, ''));
  }
}

// Behind the function snapshot. Throws LoadError.
async function resume(command) {
  const [word, seed] = command.split(' ');
  if (word !== 'resume') throw new Error(`the agent said '${command.slice(0, 80)}'`);
  reseed(seed);
  if (isDeployed()) renewLogStreamName();
  await runHooks(hooks.runAfterRestore);
}

// Tells the host that the function is of no use. What answers every event from then on.
function reportFailure(channel, error) {
  if (!(error instanceof LoadError)) throw error;
  if (isDeployed()) logReport('Uncaught Exception', error.report);
  channel.writeFrame('init-error', JSON.stringify(error.report));
  return (payload, contextValues, reply) => {
    watcher = { failed: () => false, rejected: () => false, idle() {} };
    reply('error', error.report);
  };
}

// ---- before the snapshot --------------------------------------------------------------------------------------------

// Runs the code of a first request, so that its pages, its bytecode and what V8 has learnt of it are in the snapshot.
async function warmUp() {
  reseed('1'.repeat(64));
  Math.random();
  const script = await findHandler(`${RUNTIME_FOLDER}/warm/script`);
  const module = await findHandler(`${RUNTIME_FOLDER}/warm/module`);
  await import('./snapstart/index.js');
  const callback = (event, context, done) => done(null, event.n);
  const requests = [
    [script, '{"n":1,"s":"\\u00e4","l":[1.5,true,null]}'],
    [script, '{"fail":true}'],
    [script, 'not JSON'],
    [module, '{"n":1}'],
    [callback, '{"n":1}'],
  ];
  await serveWarmUp(Array(WARM_UP_ROUNDS).fill(requests).flat());
  // Lines as console.log makes them.
  util.format('%s %d %j', 'text', 1, { a: [1, 'b'] }, new Error('wanted'), new Map([[1, 2]]));
}

// Serves `requests`, each [handler, payload], over a channel of its own: a file that holds them all.
async function serveWarmUp(requests) {
  const context = '{"functionName":"f","requestId":"r","deadlineMs":1e13,"memoryLimitInMB":128}';
  const frames = requests.map(
    ([, payload]) => `context ${context.length}\n${context}event ${Buffer.byteLength(payload)}\n${payload}`,
  );
  const file = '/tmp/.snapfaas-warm-up';
  fs.writeFileSync(file, frames.join(''));
  const channel = new Channel(fs.openSync(file, 'r'), fs.openSync('/dev/null', 'w'));
  fs.unlinkSync(file);
  await new Promise((resolve) => {
    let next = 0;
    serve(channel, (payload, contextValues, reply) => {
      const [handler] = requests[next++];
      answer(handler, payload, contextValues, next < requests.length ? reply : resolve);
    });
  });
  fs.closeSync(channel.readFd);
  fs.closeSync(channel.writeFd);
}

async function main() {
  const channel = new Channel(CHANNEL_FD, CHANNEL_FD);
  watchEventLoop();
  setUpRandomness();
  await warmUp();
  native.settleHeap();
  writeLine(CONTROL_OUT_FD, 'ready');
  const command = readLine(CONTROL_IN_FD);
  let respond;
  try {
    respond = await load(command);
    writeLine(CONTROL_OUT_FD, 'loaded');
  } catch (error) {
    respond = reportFailure(channel, error);
    writeLine(CONTROL_OUT_FD, 'failed');
    serve(channel, respond);
    return;
  }
  if (command.endsWith(' checkpoint')) {
    try {
      await resume(readLine(CONTROL_IN_FD));
    } catch (error) {
      respond = reportFailure(channel, error);
    }
  }
  serve(channel, respond);
}

main().catch(giveUp);
