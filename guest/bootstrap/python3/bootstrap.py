"""The Python bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".

Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
every restored VM while a caller waits, so it touches little memory and reads as few files as it can.
"""

# Some of these are here for the functions' sake: what most functions import is in the snapshot already. Each costs
# memory in it, so dataclasses, pathlib, decimal and tempfile (half a megabyte and more each) are left to whoever needs
# them.
import base64
import collections
import contextlib
import copy
import datetime
import enum
import functools
import gc
import hashlib
import importlib
import importlib.machinery
import importlib.util
import io
import itertools
import json
import linecache
import logging
import math
import operator
import os
import random
import re
import string
import sys
import threading
import time
import traceback
import types
import typing
import urllib.parse
import uuid

CHANNEL_FD = 3
CONTROL_IN_FD = 4
CONTROL_OUT_FD = 5

TASK_ROOT = "/srv"
# The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run it.
LAMBDA_TASK_ROOT = "/var/task"
CONFIGURATION = ".snapfaas/function.json"
# Where packages lie in either, after the function's own modules: its own, and Debian's (debian-packages.txt).
PACKAGES = ("package", "package/usr/lib/python3/dist-packages")
RUNTIME_FOLDER = "/usr/lib/snapfaas"
# The name that tracebacks know this file by; it runs compiled.
OWN_FILE = (lambda: None).__code__.co_filename
# src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
MAX_FRAME_BYTES = 6_291_556 + 64 * 1024
MAX_RESPONSE_BYTES = 6_291_556
# An error report must fit a frame whatever a function puts into it.
MAX_MESSAGE_CHARACTERS = 256 * 1024
MAX_STACK_LINES = 100
MAX_STACK_LINE_CHARACTERS = 4 * 1024

# The kinds of file a handler's module may be: a module, a package, or a script without a suffix.
HANDLERS = (("app", "handler"), ("app", "handle"), ("workload", "handler"), ("workload", "handle"))


class ChannelError(Exception):
    """The host has broken the framing: the channel is of no further use."""


class LoadError(Exception):
    """The function cannot be loaded. `report` is the error to answer with."""

    def __init__(self, report):
        super().__init__(report["errorMessage"])
        self.report = report


class Channel:
    """Frames over a descriptor that is read and written in pieces of any size."""

    def __init__(self, read_fd, write_fd):
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._buffer = bytearray()

    def read_frame(self):
        """The next (kind, payload)."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > 64:
                raise ChannelError("a frame header without an end")
            self._fill(4096)
        kind, _, length = bytes(self._buffer[:end]).partition(b" ")
        if not kind or not length.isdigit() or len(length) > 9 or int(length) > MAX_FRAME_BYTES:
            raise ChannelError("a malformed frame header")
        start, size = end + 1, int(length)
        while len(self._buffer) < start + size:
            self._fill(start + size - len(self._buffer))
        payload = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return kind.decode("ascii", "replace"), payload

    def write_frame(self, kind, payload):
        data = memoryview(b"%s %d\n%s" % (kind.encode("ascii"), len(payload), payload))
        while data:
            data = data[os.write(self._write_fd, data) :]

    def _fill(self, wanted):
        # A virtio port reads as ended while no host is connected to it; the host may come back.
        pause = 0.001
        while not (piece := os.read(self._read_fd, min(max(wanted, 4096), 1 << 20))):
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        self._buffer += piece


class CognitoIdentity:
    """Nobody's: there is no Cognito here."""

    def __init__(self):
        self.cognito_identity_id = None
        self.cognito_identity_pool_id = None


class Client:
    """The app that a mobile SDK speaks for."""

    def __init__(self, values):
        self.installation_id = values.get("installation_id")
        self.app_title = values.get("app_title")
        self.app_version_name = values.get("app_version_name")
        self.app_version_code = values.get("app_version_code")
        self.app_package_name = values.get("app_package_name")


class ClientContext:
    """What the caller has said of itself."""

    def __init__(self, values):
        self.custom = values.get("custom")
        self.env = values.get("env")
        client = values.get("client")
        self.client = Client(client) if isinstance(client, dict) else None


class Context:
    """What a Lambda handler gets as its second argument. Of a deployed function the environment says what the host
    does not."""

    def __init__(self, values):
        known = os.environ.get
        self.aws_request_id = str(values.get("requestId") or uuid.uuid4())
        self.function_name = str(values.get("functionName") or known("AWS_LAMBDA_FUNCTION_NAME", "function"))
        self.function_version = str(values.get("functionVersion") or known("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"))
        self.invoked_function_arn = str(values.get("invokedFunctionArn") or "")
        self.memory_limit_in_mb = str(values.get("memoryLimitInMB") or known("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""))
        self.log_group_name = known("AWS_LAMBDA_LOG_GROUP_NAME") or "/aws/lambda/" + self.function_name
        self.log_stream_name = known("AWS_LAMBDA_LOG_STREAM_NAME") or make_log_stream_name(
            self.function_version, self.aws_request_id.replace("-", "")
        )
        self.identity = CognitoIdentity()
        client_context = values.get("clientContext")
        self.client_context = ClientContext(client_context) if isinstance(client_context, dict) else None
        self._deadline_ms = values.get("deadlineMs")

    def get_remaining_time_in_millis(self):
        if not isinstance(self._deadline_ms, (int, float)):
            return 0
        return max(0, int(self._deadline_ms - time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


def make_log_stream_name(version, unique):
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{version}]{unique}"


def make_report(error_type, message, stack=(), request_id=""):
    message = str(message)
    stack = list(stack)
    if len(stack) > MAX_STACK_LINES:
        half = MAX_STACK_LINES // 2
        stack = stack[:half] + [f"  ... {len(stack) - 2 * half} more ...\n"] + stack[-half:]
    return {
        "errorMessage": message[:MAX_MESSAGE_CHARACTERS],
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": [line[:MAX_STACK_LINE_CHARACTERS] for line in stack],
    }


def own_frames(error):
    """The stack of the function alone: without the frames of this file and of the import machinery."""
    own = (OWN_FILE, importlib.__file__)
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if frame.filename not in own and not frame.filename.startswith("<frozen")]


def report_exception(error, error_type=None, request_id=""):
    try:
        message = str(error)
    except Exception:  # a __str__ of the function that fails itself
        message = "<unprintable>"
    stack = traceback.format_list(own_frames(error))
    return make_report(error_type or type(error).__name__, message, stack, request_id)


def encode_report(report):
    return json.dumps(report).encode("ascii")


def import_handler_module(name):
    """The module `name` of the function; None when its folder has none."""
    if (spec := importlib.machinery.PathFinder.find_spec(name, [TASK_ROOT])) and spec.loader is not None:
        return importlib.import_module(name)
    script = os.path.join(TASK_ROOT, name)
    return import_script(name, script) if os.path.isfile(script) else None


def import_script(name, script):
    loader = importlib.machinery.SourceFileLoader(name, script)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def find_handler():
    """A callable of (event, context). Raises LoadError."""
    modules = {}
    for module_name, attribute in HANDLERS:
        if module_name not in modules:
            modules[module_name] = load_module(module_name, import_handler_module)
        function = getattr(modules[module_name], attribute, None)
        if callable(function):
            return function if attribute == "handler" else lambda event, _: function(event)
    if not any(modules.values()):
        raise LoadError(make_report("Runtime.ImportModuleError", "Unable to import module: no app.py and no workload"))
    name = next(name for name, module in modules.items() if module)
    raise LoadError(
        make_report("Runtime.HandlerNotFound", f"Module '{name}' has neither handler(event, context) nor handle(event)")
    )


def import_configured_module(name):
    """As AWS Lambda: `name` may have slashes for dots. Beyond it: a script without a suffix."""
    module = name.replace("/", ".")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        script = os.path.join(LAMBDA_TASK_ROOT, name)
        if error.name != module or not os.path.isfile(script):
            raise
        return import_script(module, script)


def configured_handler(name):
    """The callable of (event, context) that a deployed function names. Raises LoadError."""
    module_name, dot, attribute = name.rpartition(".")
    if not dot:
        message = f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        raise LoadError(make_report("Runtime.MalformedHandlerName", message))
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module_name} as a handler module"
        raise LoadError(make_report("Runtime.BuiltInModuleConflict", message))
    module = load_module(module_name, import_configured_module)
    try:
        function = getattr(module, attribute)
    except AttributeError:
        message = f"Handler '{attribute}' missing on module '{module_name}'"
        raise LoadError(make_report("Runtime.HandlerNotFound", message)) from None
    if attribute == "handle" and takes_event_alone(function):
        return lambda event, _: function(event)
    return function


def takes_event_alone(function):
    """Whether it is a handle(event), which needs no context."""
    code = getattr(function, "__code__", None)
    takes_any_number = 0x04  # CO_VARARGS
    return code is not None and code.co_argcount == 1 and not code.co_flags & takes_any_number


def load_module(name, load):
    try:
        return load(name)
    except ImportError as error:
        report = report_exception(error, "Runtime.ImportModuleError")
        report["errorMessage"] = f"Unable to import module '{name}': {report['errorMessage']}"
    except SyntaxError as error:
        report = report_exception(error, "Runtime.UserCodeSyntaxError")
        report["errorMessage"] = f"Syntax error in module '{name}': {report['errorMessage']}"
        report["stackTrace"] += traceback.format_exception_only(error)[:1]
    except SystemExit as error:
        report = report_exception(error, "Runtime.ExitError")
        report["errorMessage"] = f"Module '{name}' called sys.exit({error.code!r})"
    except BaseException as error:
        report = report_exception(error)
    raise LoadError(report)


def encode_response(response):
    # Lambda's own encoder: plain JSON in UTF-8, numbers that JSON has not are refused.
    return json.dumps(response, ensure_ascii=False, allow_nan=False).encode("utf-8")


def answer(handler, payload, context_values):
    """Runs one event; the (kind, payload) to send back. Never raises."""
    context = Context(context_values)
    request_id = context.aws_request_id
    try:
        event = json.loads(payload)
    except ValueError as error:
        message = f"Event is not JSON: {error}"
        return "error", encode_report(make_report("Runtime.UnmarshalError", message, (), request_id))
    try:
        response = handler(event, context)
    except SystemExit as error:
        report = report_exception(error, "Runtime.ExitError", request_id)
        report["errorMessage"] = f"The handler called sys.exit({error.code!r})"
        return "error", encode_report(report)
    except BaseException as error:
        return "error", encode_report(report_exception(error, None, request_id))
    try:
        data = encode_response(response)
    except BaseException as error:
        message = f"Unable to marshal response: {error}"
        return "error", encode_report(make_report("Runtime.MarshalError", message, (), request_id))
    if len(data) > MAX_RESPONSE_BYTES:
        message = f"Response payload size ({len(data)} bytes) exceeded maximum allowed payload size "
        message += f"({MAX_RESPONSE_BYTES} bytes)."
        return "error", encode_report(make_report("Function.ResponseSizeTooLarge", message, (), request_id))
    return "result", data


class LogHandler(logging.Handler):
    """The root logger's: lines as AWS Lambda writes them."""

    def __init__(self):
        super().__init__()
        self.request_id = ""
        line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        formatter = logging.Formatter(line, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record):
        try:
            record.aws_request_id = self.request_id
            sys.stdout.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def log_report(report):
    text = f"[ERROR] {report['errorType']}: {report['errorMessage']}\n"
    if report["stackTrace"]:
        text += "Traceback (most recent call last):\n" + "".join(report["stackTrace"])
    try:
        sys.stdout.write(text)
    except (OSError, ValueError):  # the function may have closed it
        pass


def answer_deployed(handler, log, payload, context_values):
    """As `answer`, with errors in the log."""
    log.request_id = str(context_values.get("requestId") or "")
    kind, data = answer(handler, payload, context_values)
    if kind == "error":
        log_report(json.loads(data))
    return kind, data


def flush_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the function may have closed it
            pass


def serve(channel, respond):
    """Answers events for ever. `respond` is called with (payload, context values)."""
    context_values = {}
    while True:
        kind, payload = channel.read_frame()
        if kind == "context":
            values = json.loads(payload)
            context_values = values if isinstance(values, dict) else {}
        elif kind == "event":
            reply = respond(payload, context_values)
            flush_output()
            channel.write_frame(*reply)
        else:
            raise ChannelError(f"a frame of unknown kind '{kind[:40]}'")


def reseed(seed_hex):
    """Every generator that was seeded in the snapshot would give the same numbers in each VM restored from it."""
    seed = int(seed_hex, 16)
    random.seed(seed)
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed([seed >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)])
    if ssl := sys.modules.get("ssl"):
        ssl.RAND_add(os.urandom(32), 32.0)


class Hooks:
    """What a function wants done around a function snapshot: AWS Lambda's snapshot_restore_py."""

    def __init__(self):
        self._before = []
        self._after = []
        module = types.ModuleType("snapshot_restore_py", "Hooks around a snapshot of the loaded function.")
        module.register_before_snapshot = self._registrar(self._before)
        module.register_after_restore = self._registrar(self._after)
        sys.modules[module.__name__] = module

    def run_before_snapshot(self):
        # In reverse order, as what was set up last is taken down first.
        for hook in reversed(self._before):
            hook()

    def run_after_restore(self):
        for hook in self._after:
            hook()

    @staticmethod
    def _registrar(hooks):
        def register(function, *args, **kwargs):
            hooks.append(functools.partial(function, *args, **kwargs))
            return function

        return register


def warm_up():
    """Runs the code of a first request once, so that its pages and caches are in the snapshot."""
    values = {"functionName": "f", "requestId": "r", "deadlineMs": 1e13, "memoryLimitInMB": 128}
    handler = lambda event, context: {"n": event["n"], "t": context.get_remaining_time_in_millis()}
    answer(handler, b'{"n": 1, "s": "\\u00e4", "l": [1.5, true, null]}', values)
    answer(handler, b"{}", values)
    answer(handler, b"not json", values)
    compiled = compile("import math\ndef handle(event):\n    return [x for x in range(3)]\n", "<warm>", "exec")
    exec(compiled, {"__name__": "warm"})
    importlib.machinery.PathFinder.find_spec("app", [TASK_ROOT])
    importlib.invalidate_caches()
    # Lines of this file that the traceback above has read.
    linecache.clearcache()
    # An import finds no such entry after the snapshot, where TASK_ROOT holds the function.
    sys.path_importer_cache.pop(TASK_ROOT, None)


def set_up_modules():
    """Before the snapshot: paths, streams, and a heap that the collector leaves alone."""
    sys.dont_write_bytecode = True
    sys.path[0] = TASK_ROOT
    sys.path.extend(os.path.join(TASK_ROOT, folder) for folder in PACKAGES)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    # The collector writes to every object it looks at; those that are in the snapshot it need not look at again.
    gc.collect()
    gc.freeze()


def read_line(fd):
    # The agent says nothing more before it has its answer.
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(fd, 256)
        if not piece:
            raise SystemExit("the agent is gone")
        line += piece
    return line.decode().rstrip("\n")


def write_line(fd, text):
    os.write(fd, text.encode() + b"\n")


def read_configuration():
    """How a deployed function is to be run; None of a mere folder. Raises LoadError."""
    try:
        with open(os.path.join(TASK_ROOT, CONFIGURATION), "rb", buffering=0) as file:
            configuration = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LoadError(make_report("Runtime.InitError", f"{CONFIGURATION} cannot be read: {error}"))
    if not isinstance(configuration, dict) or not isinstance(configuration.get("handler"), str):
        raise LoadError(make_report("Runtime.InitError", f"{CONFIGURATION} names no handler"))
    return configuration


def is_deployed():
    return "_HANDLER" in os.environ


def renew_log_stream_name():
    """One for each microVM, as one snapshot gives many."""
    version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
    os.environ["AWS_LAMBDA_LOG_STREAM_NAME"] = make_log_stream_name(version, uuid.uuid4().hex)


def set_up_environment(configuration):
    name = str(configuration.get("functionName") or "function")
    region = str(configuration.get("region") or "us-east-1")
    os.environ.update(
        {
            "_HANDLER": configuration["handler"],
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.get("memorySize") or ""),
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(configuration.get("functionVersion") or "$LATEST"),
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + name,
            "AWS_REGION": region,
            "LAMBDA_RUNTIME_DIR": RUNTIME_FOLDER,
            "LAMBDA_TASK_ROOT": LAMBDA_TASK_ROOT,
            "TZ": ":UTC",
        }
    )
    renew_log_stream_name()
    # The function's own go last, so that it may have another time zone.
    environment = configuration.get("environment")
    try:
        os.environ.update(environment if isinstance(environment, dict) else {})
    except (TypeError, ValueError) as error:
        raise LoadError(make_report("Runtime.InitError", f"an environment variable cannot be set: {error}"))
    if os.environ["TZ"] != ":UTC":
        time.tzset()


def load_deployed(configuration):
    """What answers the events of a deployed function. Raises LoadError."""
    set_up_environment(configuration)
    sys.path[0] = LAMBDA_TASK_ROOT
    sys.path[-len(PACKAGES) :] = (os.path.join(LAMBDA_TASK_ROOT, folder) for folder in PACKAGES)
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(":"))
    os.chdir(LAMBDA_TASK_ROOT)
    log = LogHandler()
    logging.getLogger().addHandler(log)
    return functools.partial(answer_deployed, configured_handler(configuration["handler"]), log)


def load_folder():
    """The same of a folder that was not deployed."""
    if os.path.isdir(TASK_ROOT):
        os.chdir(TASK_ROOT)
    return functools.partial(answer, find_handler())


def load(command, hooks):
    """The function that answers events, after the agent's `command`. Raises LoadError."""
    word, _, argument = command.partition(" ")
    if word == "fail":
        raise LoadError(make_report("Runtime.InitError", argument))
    if word != "load":
        raise SystemExit(f"the agent said '{command[:80]}'")
    seed, _, snapshot = argument.partition(" ")
    os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start" if snapshot else "on-demand"
    reseed(seed)
    importlib.invalidate_caches()
    configuration = read_configuration()
    respond = load_folder() if configuration is None else load_deployed(configuration)
    if snapshot:
        run_hooks(hooks.run_before_snapshot)
        # What the function has loaded is in the snapshot: the collector need not look at it again.
        gc.collect()
        gc.freeze()
    return respond


def run_hooks(run):
    """Raises LoadError."""
    try:
        run()
    except BaseException as error:
        raise LoadError(report_exception(error))


def resume(command, hooks):
    """Behind the function snapshot. Raises LoadError."""
    word, _, seed = command.partition(" ")
    if word != "resume":
        raise SystemExit(f"the agent said '{command[:80]}'")
    reseed(seed)
    if is_deployed():
        renew_log_stream_name()
    run_hooks(hooks.run_after_restore)


def report_failure(channel, error):
    """Tells the host that the function is of no use; the answer to every event from then on."""
    failure = encode_report(error.report)
    if is_deployed():
        log_report(error.report)
    flush_output()
    channel.write_frame("init-error", failure)
    return lambda payload, context_values: ("error", failure)


def main():
    channel = Channel(CHANNEL_FD, CHANNEL_FD)
    hooks = Hooks()
    warm_up()
    set_up_modules()
    write_line(CONTROL_OUT_FD, "ready")
    command = read_line(CONTROL_IN_FD)
    try:
        respond = load(command, hooks)
    except LoadError as error:
        respond = report_failure(channel, error)
        write_line(CONTROL_OUT_FD, "failed")
    else:
        flush_output()
        write_line(CONTROL_OUT_FD, "loaded")
        if command.endswith(" checkpoint"):
            try:
                resume(read_line(CONTROL_IN_FD), hooks)
            except LoadError as error:
                respond = report_failure(channel, error)
    try:
        serve(channel, respond)
    except (ChannelError, ValueError) as error:
        raise SystemExit(f"snapfaas-bootstrap: the host sent {error}")


if __name__ == "__main__":
    main()
