<?php
// The PHP bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
//
// Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
// every restored VM while a caller waits, so it touches little memory and reads as few files as it can.

namespace SnapStart {
    // Hooks around a snapshot of the loaded function. Those before it are run in reverse order, as what was set up last
    // is taken down first.
    function register_before_snapshot(callable $hook, mixed ...$values): callable
    {
        \SnapFaaS\Hooks::$before[] = fn() => $hook(...$values);
        return $hook;
    }

    function register_after_restore(callable $hook, mixed ...$values): callable
    {
        \SnapFaaS\Hooks::$after[] = fn() => $hook(...$values);
        return $hook;
    }
}

namespace SnapFaaS {

const CHANNEL_FD = 3;
const CONTROL_IN_FD = 4;
const CONTROL_OUT_FD = 5;

const TASK_ROOT = '/srv';
// The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run
// it.
const LAMBDA_TASK_ROOT = '/var/task';
const CONFIGURATION = '.snapfaas/function.json';
const RUNTIME_FOLDER = __DIR__;
// src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
const MAX_FRAME_BYTES = 6291556 + 64 * 1024;
const MAX_RESPONSE_BYTES = 6291556;
// An error report must fit a frame whatever a function puts into it.
const MAX_MESSAGE_BYTES = 256 * 1024;
const MAX_STACK_LINES = 100;
const MAX_STACK_LINE_BYTES = 4 * 1024;

const JSON_FLAGS = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
const JSON_DEPTH = 1024;

// Where the handler of a function may be that was not deployed.
const MODULES = ['app', 'workload', 'index'];

// ---- descriptors ---------------------------------------------------------------------------------------------------

// The host has broken the framing: the channel is of no further use.
final class ChannelError extends \Exception
{
}

// Frames over streams that are read and written in pieces of any size.
final class Channel
{
    private string $buffer = '';

    public function __construct(private $input, private $output)
    {
        stream_set_read_buffer($input, 0);
        stream_set_write_buffer($output, 0);
    }

    // The next [kind, payload].
    public function readFrame(): array
    {
        while (($end = strpos($this->buffer, "\n")) === false) {
            if (strlen($this->buffer) > 64) {
                throw new ChannelError('a frame header without an end');
            }
            $this->buffer .= $this->readSome(4096);
        }
        $header = substr($this->buffer, 0, $end);
        if (!preg_match('/^([^ ]+) ([0-9]{1,9})$/D', $header, $parts) || (int)$parts[2] > MAX_FRAME_BYTES) {
            throw new ChannelError('a malformed frame header');
        }
        $start = $end + 1;
        $size = (int)$parts[2];
        while (($missing = $start + $size - strlen($this->buffer)) > 0) {
            $this->buffer .= $this->readSome(min($missing, 1 << 20));
        }
        $payload = substr($this->buffer, $start, $size);
        $this->buffer = substr($this->buffer, $start + $size);
        return [$parts[1], $payload];
    }

    public function writeFrame(string $kind, string $payload): void
    {
        writeAll($this->output, $kind . ' ' . strlen($payload) . "\n" . $payload);
    }

    private function readSome(int $size): string
    {
        // A virtio port reads as ended while no host is connected to it; the host may come back.
        $pause = 1000;
        while (($piece = (string)fread($this->input, $size)) === '') {
            usleep($pause);
            $pause = min(2 * $pause, 50000);
        }
        return $piece;
    }
}

function writeAll($stream, string $data): void
{
    for ($at = 0, $size = strlen($data); $at < $size; $at += $written) {
        // In pieces: the rest is a copy each time that not all was taken.
        $written = fwrite($stream, $at === 0 && $size <= 1 << 16 ? $data : substr($data, $at, 1 << 16));
        if ($written === false || $written === 0) {
            giveUp('the host does not read');
        }
    }
}

function readLine($stream): string
{
    // The agent says nothing more before it has its answer.
    $line = fgets($stream);
    if ($line === false) {
        giveUp('the agent is gone');
    }
    return rtrim($line, "\n");
}

// The failure is none of the function's: ends the bootstrap.
function giveUp(string $reason): never
{
    fwrite(fopen('php://fd/2', 'wb'), "snapfaas-bootstrap: $reason\n");
    exit(1);
}

// ---- error reports -------------------------------------------------------------------------------------------------

// The function cannot be loaded. `report` is the error to answer with.
final class LoadError extends \Exception
{
    public function __construct(public readonly array $report)
    {
        parent::__construct($report['errorMessage']);
    }
}

function makeReport(string $type, string $message, array $stack = [], string $requestId = ''): array
{
    if (count($stack) > MAX_STACK_LINES) {
        $half = MAX_STACK_LINES / 2;
        $left_out = '... ' . (count($stack) - MAX_STACK_LINES) . ' more ...';
        $stack = [...array_slice($stack, 0, $half), $left_out, ...array_slice($stack, -$half)];
    }
    return [
        'errorMessage' => cut($message, MAX_MESSAGE_BYTES),
        'errorType' => cut($type, MAX_STACK_LINE_BYTES),
        'requestId' => $requestId,
        'stackTrace' => array_map(fn($line) => cut($line, MAX_STACK_LINE_BYTES), $stack),
    ];
}

// At most so many bytes, and no half of a character at the end.
function cut(string $text, int $size): string
{
    return strlen($text) <= $size ? $text : mb_strcut($text, 0, $size, 'UTF-8');
}

// The stack of the function alone, in PHP's own words: where it was thrown, then who has called that.
function ownStack(\Throwable $error): array
{
    $own = fn($file) => str_starts_with($file, RUNTIME_FOLDER . '/');
    $lines = $own($error->getFile()) ? [] : ["in {$error->getFile()}:{$error->getLine()}"];
    foreach ($error->getTrace() as $number => $frame) {
        if (isset($frame['file']) && $own($frame['file'])) {
            break;
        }
        $place = isset($frame['file']) ? "{$frame['file']}({$frame['line']})" : '[internal function]';
        $lines[] = "#$number $place: " . ($frame['class'] ?? '') . ($frame['type'] ?? '') . "{$frame['function']}()";
    }
    return $lines;
}

function reportError(\Throwable $error, ?string $type = null, string $requestId = ''): array
{
    return makeReport($type ?? $error::class, $error->getMessage(), ownStack($error), $requestId);
}

// Whatever bytes the function has put into it.
function encodeReport(array $report): string
{
    return json_encode($report, (JSON_FLAGS & ~JSON_THROW_ON_ERROR) | JSON_INVALID_UTF8_SUBSTITUTE);
}

// ---- events --------------------------------------------------------------------------------------------------------

// What a handler gets as its second argument. Of a deployed function the environment says what the host does not.
final class Context
{
    public readonly string $awsRequestId;
    public readonly string $functionName;
    public readonly string $functionVersion;
    public readonly string $invokedFunctionArn;
    public readonly string $memoryLimitInMB;
    public readonly string $logGroupName;
    public readonly string $logStreamName;
    public readonly ?array $clientContext;
    private readonly int|float $deadlineMs;

    public function __construct(array $values)
    {
        $this->awsRequestId = (string)(($values['requestId'] ?? '') ?: makeUuid());
        $this->functionName = known($values, 'functionName', 'AWS_LAMBDA_FUNCTION_NAME') ?: 'function';
        $this->functionVersion = known($values, 'functionVersion', 'AWS_LAMBDA_FUNCTION_VERSION') ?: '$LATEST';
        $this->invokedFunctionArn = (string)($values['invokedFunctionArn'] ?? '');
        $this->memoryLimitInMB = known($values, 'memoryLimitInMB', 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE');
        $this->logGroupName = getenv('AWS_LAMBDA_LOG_GROUP_NAME') ?: "/aws/lambda/$this->functionName";
        $this->logStreamName = getenv('AWS_LAMBDA_LOG_STREAM_NAME')
            ?: makeLogStreamName($this->functionVersion, str_replace('-', '', $this->awsRequestId));
        $clientContext = $values['clientContext'] ?? null;
        $this->clientContext = is_array($clientContext) ? $clientContext : null;
        $deadlineMs = $values['deadlineMs'] ?? 0;
        $this->deadlineMs = is_int($deadlineMs) || is_float($deadlineMs) ? $deadlineMs : 0;
    }

    public function getRemainingTimeInMillis(): int
    {
        return max(0, (int)($this->deadlineMs - microtime(true) * 1000));
    }

    public function getAwsRequestId(): string
    {
        return $this->awsRequestId;
    }

    public function getInvokedFunctionArn(): string
    {
        return $this->invokedFunctionArn;
    }
}

function known(array $values, string $key, string $variable): string
{
    return (string)(($values[$key] ?? '') ?: getenv($variable));
}

function makeUuid(): string
{
    $bytes = random_bytes(16);
    $bytes[6] = chr(ord($bytes[6]) & 0x0f | 0x40);
    $bytes[8] = chr(ord($bytes[8]) & 0x3f | 0x80);
    return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
}

function makeLogStreamName(string $version, string $unique): string
{
    return gmdate('Y/m/d') . "/[$version]$unique";
}

// Runs one event; the [kind, payload] to send back. Never throws.
function answer(callable $handler, string $payload, array $contextValues): array
{
    $context = new Context($contextValues);
    $requestId = $context->awsRequestId;
    try {
        $event = json_decode($payload, true, JSON_DEPTH, JSON_THROW_ON_ERROR);
    } catch (\JsonException $error) {
        $message = "Event is not JSON: {$error->getMessage()}";
        return ['error', encodeReport(makeReport('Runtime.UnmarshalError', $message, [], $requestId))];
    }
    try {
        $response = $handler($event, $context);
    } catch (\Throwable $error) {
        return ['error', encodeReport(reportError($error, null, $requestId))];
    } finally {
        flushOutput();
    }
    try {
        $data = json_encode($response, JSON_FLAGS, JSON_DEPTH);
    } catch (\Throwable $error) {
        $message = "Unable to marshal response: {$error->getMessage()}";
        return ['error', encodeReport(makeReport('Runtime.MarshalError', $message, [], $requestId))];
    }
    if (strlen($data) > MAX_RESPONSE_BYTES) {
        $message = 'Response payload size (' . strlen($data) . ' bytes) exceeded maximum allowed payload size ('
            . MAX_RESPONSE_BYTES . ' bytes).';
        return ['error', encodeReport(makeReport('Function.ResponseSizeTooLarge', $message, [], $requestId))];
    }
    return ['result', $data];
}

// What the function has left in PHP's own buffers.
function flushOutput(): void
{
    while (ob_get_level() > 0 && ob_end_flush()) {
    }
}

function logReport(array $report): void
{
    $lines = ["[ERROR] {$report['errorType']}: {$report['errorMessage']}", ...$report['stackTrace']];
    if (is_resource(STDOUT)) { // the function may have closed it
        @fwrite(STDOUT, implode("\n", $lines) . "\n");
    }
}

// Answers events for ever. `respond` is called with (payload, context values).
function serve(Channel $channel, callable $respond): never
{
    $contextValues = [];
    try {
        for (;;) {
            [$kind, $payload] = $channel->readFrame();
            if ($kind === 'event') {
                $channel->writeFrame(...$respond($payload, $contextValues));
            } elseif ($kind === 'context') {
                $values = json_decode($payload, true);
                if ($values === null && $payload !== 'null') {
                    throw new ChannelError('a context that is not JSON');
                }
                $contextValues = is_array($values) ? $values : [];
            } else {
                throw new ChannelError("a frame of unknown kind '" . substr($kind, 0, 40) . "'");
            }
        }
    } catch (ChannelError $error) {
        giveUp("the host sent {$error->getMessage()}");
    }
}

// ---- the function --------------------------------------------------------------------------------------------------

// What is run in the global scope, at the end of this file, and what has come of it.
final class Script
{
    public static string $file;
    public static mixed $returned;
    public static ?\Throwable $thrown;
}

final class Hooks
{
    public static array $before = [];
    public static array $after = [];

    // Throws LoadError.
    public static function run(array $hooks): void
    {
        try {
            foreach ($hooks as $hook) {
                $hook();
            }
        } catch (\Throwable $error) {
            throw new LoadError(reportError($error));
        }
        flushOutput();
    }
}

// Runs `file` of the function in the global scope: yields to who is there. Throws LoadError.
function runScript(string $file, string $name): \Generator
{
    Script::$file = $file;
    yield;
    $thrown = Script::$thrown;
    if ($thrown instanceof \ParseError || $thrown instanceof \CompileError) {
        $report = reportError($thrown, 'Runtime.UserCodeSyntaxError');
        $report['errorMessage'] = "Syntax error in module '$name': {$report['errorMessage']}";
        throw new LoadError($report);
    }
    if ($thrown !== null) {
        $missing = str_starts_with($thrown->getMessage(), 'Failed opening required');
        throw new LoadError(reportError($thrown, $missing ? 'Runtime.ImportModuleError' : null));
    }
    flushOutput();
}

// What a script returns may be the handler: a function, or an object with a method `handle`.
function asHandler(mixed $returned): ?callable
{
    if (is_callable($returned)) {
        return $returned;
    }
    return is_object($returned) && is_callable([$returned, 'handle']) ? [$returned, 'handle'] : null;
}

// The handler of a function that was not deployed. Throws LoadError.
function findHandler(string $root): \Generator
{
    $without = null;
    foreach (MODULES as $name) {
        if (!is_file("$root/$name.php")) {
            continue;
        }
        yield from runScript("$root/$name.php", $name);
        foreach ([Script::$returned, 'handler', 'handle'] as $candidate) {
            if (($handler = asHandler($candidate)) !== null) {
                return $handler;
            }
        }
        $without ??= $name;
    }
    throw new LoadError(
        $without === null
            ? makeReport('Runtime.ImportModuleError', 'Unable to import module: no app.php, workload.php or index.php')
            : makeReport(
                'Runtime.HandlerNotFound',
                "Module '$without' has neither handler(\$event, \$context) nor handle(\$event), and returns none",
            ),
    );
}

// The handler that a deployed function names: `folder/file.function`, `folder/file.Class::method`, or
// `folder/file.php`, which returns it. Throws LoadError.
function configuredHandler(string $name): \Generator
{
    if (!preg_match('#^((?:.*/)?[^/.]+)\.([^/.]+)$#D', $name, $parts)) {
        throw new LoadError(makeReport('Runtime.MalformedHandlerName', "Bad handler '$name'"));
    }
    [, $module, $function] = $parts;
    $file = LAMBDA_TASK_ROOT . "/$module.php";
    if (!is_file($file)) {
        $message = "Unable to import module '$module': there is no file $module.php";
        throw new LoadError(makeReport('Runtime.ImportModuleError', $message));
    }
    yield from runScript($file, $module);
    $handler = asHandler($function === 'php' ? Script::$returned : $function);
    if ($handler === null && preg_match('/^(.+)::(.+)$/D', $function, $parts) && class_exists($parts[1])) {
        try {
            $handler = asHandler([new $parts[1](), $parts[2]]);
        } catch (\Throwable $error) {
            throw new LoadError(reportError($error));
        }
    }
    $message = $function === 'php'
        ? "Module '$module' returns no handler" : "Handler '$function' missing on module '$module'";
    return $handler ?? throw new LoadError(makeReport('Runtime.HandlerNotFound', $message));
}

// How a deployed function is to be run; null of a mere folder. Throws LoadError.
function readConfiguration(): ?array
{
    $file = TASK_ROOT . '/' . CONFIGURATION;
    if (!is_file($file)) {
        return null;
    }
    $configuration = json_decode((string)file_get_contents($file), true);
    if (!is_array($configuration)) {
        throw new LoadError(makeReport('Runtime.InitError', CONFIGURATION . ' cannot be read'));
    }
    if (!is_string($configuration['handler'] ?? null)) {
        throw new LoadError(makeReport('Runtime.InitError', CONFIGURATION . ' names no handler'));
    }
    return $configuration;
}

function setVariable(string $name, string $value): void
{
    putenv("$name=$value");
    $_ENV[$name] = $_SERVER[$name] = $value;
}

function isDeployed(): bool
{
    return getenv('_HANDLER') !== false;
}

// One for each microVM, as one snapshot gives many.
function renewLogStreamName(): void
{
    $version = getenv('AWS_LAMBDA_FUNCTION_VERSION') ?: '$LATEST';
    setVariable('AWS_LAMBDA_LOG_STREAM_NAME', makeLogStreamName($version, bin2hex(random_bytes(16))));
}

// Throws LoadError.
function setUpEnvironment(array $configuration): void
{
    $name = (string)(($configuration['functionName'] ?? '') ?: 'function');
    $region = (string)(($configuration['region'] ?? '') ?: 'us-east-1');
    $variables = [
        '_HANDLER' => $configuration['handler'],
        'AWS_DEFAULT_REGION' => $region,
        'AWS_EXECUTION_ENV' => 'AWS_Lambda_php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION,
        'AWS_LAMBDA_FUNCTION_MEMORY_SIZE' => (string)($configuration['memorySize'] ?? ''),
        'AWS_LAMBDA_FUNCTION_NAME' => $name,
        'AWS_LAMBDA_FUNCTION_VERSION' => (string)(($configuration['functionVersion'] ?? '') ?: '$LATEST'),
        'AWS_LAMBDA_LOG_GROUP_NAME' => "/aws/lambda/$name",
        'AWS_REGION' => $region,
        'LAMBDA_RUNTIME_DIR' => RUNTIME_FOLDER,
        'LAMBDA_TASK_ROOT' => LAMBDA_TASK_ROOT,
        'TZ' => ':UTC',
    ];
    array_walk($variables, fn($value, $key) => setVariable($key, $value));
    renewLogStreamName();
    // The function's own go last, so that it may have another time zone.
    $own = $configuration['environment'] ?? [];
    foreach (is_array($own) ? $own : [] as $key => $value) {
        if (!is_string($value) || str_contains($key, '=') || str_contains("$key$value", "\0")) {
            throw new LoadError(makeReport('Runtime.InitError', "the environment variable $key cannot be set"));
        }
        setVariable($key, $value);
    }
    if (getenv('TZ') !== ':UTC') {
        @date_default_timezone_set(ltrim(getenv('TZ'), ':')); // it may be none that PHP knows
    }
}

// Returns what answers the events of a deployed function. Throws LoadError.
function loadDeployed(array $configuration): \Generator
{
    setUpEnvironment($configuration);
    chdir(LAMBDA_TASK_ROOT);
    yield from loadPackages(LAMBDA_TASK_ROOT);
    $handler = yield from configuredHandler($configuration['handler']);
    return function (string $payload, array $contextValues) use ($handler) {
        $reply = answer($handler, $payload, $contextValues);
        if ($reply[0] === 'error') {
            logReport(json_decode($reply[1], true));
        }
        return $reply;
    };
}

// The same of a folder that was not deployed.
function loadFolder(): \Generator
{
    chdir(TASK_ROOT);
    yield from loadPackages(TASK_ROOT);
    $handler = yield from findHandler(TASK_ROOT);
    return fn(string $payload, array $contextValues) => answer($handler, $payload, $contextValues);
}

// What Composer has put beside the function.
function loadPackages(string $root): \Generator
{
    set_include_path("$root:$root/package:/usr/share/php");
    if (is_file("$root/vendor/autoload.php")) {
        yield from runScript("$root/vendor/autoload.php", 'vendor/autoload');
    }
}

// ---- the agent's commands ------------------------------------------------------------------------------------------

// Every generator that was seeded in the snapshot would give the same numbers in each VM restored from it.
function reseed(string $seed): void
{
    // All that mt_rand(), shuffle() and their like take; random_bytes() and random_int() ask the kernel.
    mt_srand(unpack('V', hash('sha256', $seed, true))[1]);
    // OpenSSL takes a restored microVM for the process that it was, and PHP's own functions never reseed it.
    static $openssl = null;
    $openssl ??= \FFI::cdef('int RAND_poll(void);', 'libcrypto.so.3');
    if ($openssl->RAND_poll() !== 1) {
        giveUp('OpenSSL cannot be reseeded');
    }
}

// Returns what answers events, after the agent's `command`. Throws LoadError.
function load(string $command): \Generator
{
    [$word, $seed, $snapshot] = explode(' ', $command) + ['', '', ''];
    if ($word === 'fail') {
        throw new LoadError(makeReport('Runtime.InitError', substr($command, strlen('fail '))));
    }
    if ($word !== 'load') {
        giveUp("the agent said '" . substr($command, 0, 80) . "'");
    }
    setVariable('AWS_LAMBDA_INITIALIZATION_TYPE', $snapshot === '' ? 'on-demand' : 'snap-start');
    reseed($seed);
    clearstatcache(true);
    $configuration = readConfiguration();
    $respond = yield from ($configuration === null ? loadFolder() : loadDeployed($configuration));
    if ($snapshot !== '') {
        Hooks::run(array_reverse(Hooks::$before));
        settleHeap();
    }
    return $respond;
}

// Behind the function snapshot. Throws LoadError.
function resume(string $command): void
{
    [$word, $seed] = explode(' ', $command) + ['', ''];
    if ($word !== 'resume') {
        giveUp("the agent said '" . substr($command, 0, 80) . "'");
    }
    reseed($seed);
    if (isDeployed()) {
        renewLogStreamName();
    }
    Hooks::run(Hooks::$after);
}

// Tells the host that the function is of no use. What answers every event from then on.
function reportFailure(Channel $channel, array $report): callable
{
    flushOutput();
    if (isDeployed()) {
        logReport($report);
    }
    $failure = encodeReport($report);
    $channel->writeFrame('init-error', $failure);
    return fn() => ['error', $failure];
}

function settleHeap(): void
{
    gc_collect_cycles();
    gc_mem_caches();
}

// Runs the code of a first request once, so that its pages and caches are in the snapshot.
function warmUp(): \Generator
{
    reseed('');
    $values = ['functionName' => 'f', 'requestId' => 'r', 'deadlineMs' => 1e13, 'memoryLimitInMB' => 128];
    $handler = yield from findHandler(RUNTIME_FOLDER . '/warm');
    foreach (["{\"n\":1,\"s\":\"\u{e4}\",\"l\":[1.5,true,null]}", '{"fail":true}', 'not JSON'] as $payload) {
        $frames = tmpfile();
        $sink = fopen('/dev/null', 'wb');
        fwrite($frames, 'event ' . strlen($payload) . "\n$payload");
        rewind($frames);
        $channel = new Channel($frames, $sink);
        [, $payload] = $channel->readFrame();
        $channel->writeFrame(...answer($handler, $payload, $values));
    }
    set_include_path(TASK_ROOT);
    clearstatcache(true);
}

// The whole life of the bootstrap. Yields where a file of the function is to be run in the global scope.
function main(): \Generator
{
    $channelStream = fopen('php://fd/' . CHANNEL_FD, 'r+b');
    $channel = new Channel($channelStream, $channelStream);
    $controlIn = fopen('php://fd/' . CONTROL_IN_FD, 'rb');
    $controlOut = fopen('php://fd/' . CONTROL_OUT_FD, 'wb');
    yield from warmUp();
    settleHeap();
    writeAll($controlOut, "ready\n");
    $command = readLine($controlIn);
    // An error that PHP lets nobody catch ends the script, and then calls this.
    $loading = true;
    register_shutdown_function(function () use (&$loading, $channel, $controlOut) {
        $fatal = E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR;
        $error = error_get_last();
        if (!$loading || $error === null || !($error['type'] & $fatal)) {
            return;
        }
        $type = $error['type'] === E_ERROR ? 'Runtime.InitError' : 'Runtime.UserCodeSyntaxError';
        $report = makeReport($type, $error['message'], ["in {$error['file']}:{$error['line']}"]);
        $respond = reportFailure($channel, $report);
        writeAll($controlOut, "failed\n");
        serve($channel, $respond);
    });
    try {
        $respond = yield from load($command);
        writeAll($controlOut, "loaded\n");
    } catch (LoadError $error) {
        $respond = reportFailure($channel, $error->report);
        writeAll($controlOut, "failed\n");
        serve($channel, $respond);
    }
    $loading = false;
    if (str_ends_with($command, ' checkpoint')) {
        try {
            resume(readLine($controlIn));
        } catch (LoadError $error) {
            $respond = reportFailure($channel, $error->report);
        }
    }
    serve($channel, $respond);
}

}

namespace {
    // The files of a function are run here, outside of any function: their variables are global ones, as in any script.
    foreach (\SnapFaaS\main() as \SnapFaaS\Script::$thrown) {
        try {
            \SnapFaaS\Script::$returned = require \SnapFaaS\Script::$file;
        } catch (\Throwable $snapfaas) {
            \SnapFaaS\Script::$thrown = $snapfaas;
            unset($snapfaas);
        }
    }
}
