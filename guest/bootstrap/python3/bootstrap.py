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


class Context:
    """What a Lambda handler gets as its second argument."""

    def __init__(self, values):
        self.aws_request_id = str(values.get("requestId") or uuid.uuid4())
        self.function_name = str(values.get("functionName") or "function")
        self.function_version = str(values.get("functionVersion") or "$LATEST")
        self.invoked_function_arn = str(values.get("invokedFunctionArn") or "")
        self.memory_limit_in_mb = str(values.get("memoryLimitInMB") or "")
        self.log_group_name = "/aws/lambda/" + self.function_name
        day = time.strftime("%Y/%m/%d", time.gmtime())
        self.log_stream_name = f"{day}/[{self.function_version}]{self.aws_request_id.replace('-', '')}"
        self.identity = None
        self.client_context = None
        self._deadline_ms = values.get("deadlineMs")

    def get_remaining_time_in_millis(self):
        if not isinstance(self._deadline_ms, (int, float)):
            return 0
        return max(0, int(self._deadline_ms - time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


def make_report(error_type, message, stack=(), request_id=None):
    message = str(message)
    stack = list(stack)
    if len(stack) > MAX_STACK_LINES:
        half = MAX_STACK_LINES // 2
        stack = stack[:half] + [f"  ... {len(stack) - 2 * half} more ...\n"] + stack[-half:]
    report = {
        "errorType": error_type,
        "errorMessage": message[:MAX_MESSAGE_CHARACTERS],
        "stackTrace": [line[:MAX_STACK_LINE_CHARACTERS] for line in stack],
    }
    if request_id:
        report["requestId"] = request_id
    return report


def own_frames(error):
    """The stack of the function alone: without the frames of this file and of the import machinery."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if frame.filename != OWN_FILE and not frame.filename.startswith("<frozen")]


def report_exception(error, error_type=None, request_id=None):
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
    if not os.path.isfile(script):
        return None
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
            modules[module_name] = load_module(module_name)
        function = getattr(modules[module_name], attribute, None)
        if callable(function):
            return function if attribute == "handler" else lambda event, _: function(event)
    if not any(modules.values()):
        raise LoadError(make_report("Runtime.ImportModuleError", "Unable to import module: no app.py and no workload"))
    name = next(name for name, module in modules.items() if module)
    raise LoadError(
        make_report("Runtime.HandlerNotFound", f"Module '{name}' has neither handler(event, context) nor handle(event)")
    )


def load_module(name):
    try:
        return import_handler_module(name)
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
    random.seed(int(seed_hex, 16))


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
    sys.path.append(os.path.join(TASK_ROOT, "package"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    # The collector writes to every object it looks at; those that are in the snapshot it need not look at again.
    gc.collect()
    gc.freeze()


def read_line(fd):
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(fd, 1)
        if not piece:
            raise SystemExit("the agent is gone")
        line += piece
    return line.decode().rstrip("\n")


def write_line(fd, text):
    os.write(fd, text.encode() + b"\n")


def load(command):
    """The function that answers events, after the agent's `command`. Raises LoadError."""
    word, _, argument = command.partition(" ")
    if word == "fail":
        raise LoadError(make_report("Runtime.InitError", argument))
    if word != "load":
        raise SystemExit(f"the agent said '{command[:80]}'")
    reseed(argument)
    importlib.invalidate_caches()
    if os.path.isdir(TASK_ROOT):
        os.chdir(TASK_ROOT)
    handler = find_handler()
    return functools.partial(answer, handler)


def main():
    channel = Channel(CHANNEL_FD, CHANNEL_FD)
    warm_up()
    set_up_modules()
    write_line(CONTROL_OUT_FD, "ready")
    command = read_line(CONTROL_IN_FD)
    try:
        respond = load(command)
    except LoadError as error:
        failure = encode_report(error.report)
        flush_output()
        channel.write_frame("init-error", failure)
        write_line(CONTROL_OUT_FD, "failed")
        respond = lambda payload, context_values: ("error", failure)
    else:
        flush_output()
        write_line(CONTROL_OUT_FD, "loaded")
    try:
        serve(channel, respond)
    except (ChannelError, ValueError) as error:
        raise SystemExit(f"snapfaas-bootstrap: the host sent {error}")


if __name__ == "__main__":
    main()
