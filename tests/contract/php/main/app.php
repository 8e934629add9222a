<?php

$seen = 0;

function handler($event, $context)
{
    global $seen;
    ++$seen;
    switch ($event['case']) {
        case 'echo':
            return ['echo' => $event['value']];
        case 'raise':
            throw new DomainException("wanted: \u{e4}");
        case 'log':
            for ($line = 1; $line <= $event['lines']; ++$line) {
                echo "out $line\n";
                fwrite(STDERR, "err $line\n");
            }
            return null;
        case 'large':
            return ['length' => mb_strlen($event['padding']), 'text' => str_repeat('x', $event['bytes'])];
        case 'context':
            return [
                'requestId' => $context->awsRequestId,
                'functionName' => $context->functionName,
                'functionVersion' => $context->functionVersion,
                'memory' => $context->memoryLimitInMB,
                'arn' => $context->invokedFunctionArn,
                'remaining' => $context->getRemainingTimeInMillis(),
                'logStream' => $context->logStreamName,
                'custom' => $context->clientContext['custom'] ?? null,
            ];
        case 'environment':
            return [
                'handler' => getenv('_HANDLER'),
                'region' => getenv('AWS_REGION'),
                'value' => getenv('CONTRACT_VALUE'),
                'cwd' => getcwd(),
                'root' => getenv('LAMBDA_TASK_ROOT'),
            ];
        case 'tmp':
            file_put_contents('/tmp/contract', '.', FILE_APPEND);
            clearstatcache();
            return ['bytes' => filesize('/tmp/contract')];
        case 'sleep':
            usleep((int)(1e6 * $event['seconds']));
            return ['slept' => $event['seconds']];
        case 'memory':
            for ($kept = [];; $kept[] = str_repeat('x', 1 << 20));
        case 'exit':
            exit(3);
        case 'signal':
            posix_kill(getmypid(), SIGSEGV);
            sleep(60);
        case 'count':
            return ['count' => $seen];
        case 'unserialisable':
            return ['number' => NAN];
    }
}
