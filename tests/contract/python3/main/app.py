import os
import signal
import sys
import time

seen = 0


def echo(event, context):
    return {"echo": event["value"]}


def fail(event, context):
    raise ValueError("wanted: \u00e4")


def log(event, context):
    for number in range(1, event["lines"] + 1):
        print("out", number)
        print("err", number, file=sys.stderr)


def large(event, context):
    return {"length": len(event["padding"]), "text": "x" * event["bytes"]}


def describe(event, context):
    return {
        "requestId": context.aws_request_id,
        "functionName": context.function_name,
        "functionVersion": context.function_version,
        "memory": context.memory_limit_in_mb,
        "arn": context.invoked_function_arn,
        "remaining": context.get_remaining_time_in_millis(),
        "logStream": context.log_stream_name,
        "custom": context.client_context.custom if context.client_context else None,
    }


def environment(event, context):
    known = os.environ.get
    return {
        "handler": known("_HANDLER"),
        "region": known("AWS_REGION"),
        "value": known("CONTRACT_VALUE"),
        "cwd": os.getcwd(),
        "root": known("LAMBDA_TASK_ROOT"),
    }


def tmp(event, context):
    with open("/tmp/contract", "ab") as file:
        file.write(b"x")
    return {"bytes": os.path.getsize("/tmp/contract")}


def sleep(event, context):
    time.sleep(event["seconds"])
    return {"slept": event["seconds"]}


def memory(event, context):
    kept = []
    while True:
        kept.append(bytearray(b"x" * (1 << 20)))


CASES = {
    "echo": echo,
    "raise": fail,
    "log": log,
    "large": large,
    "context": describe,
    "environment": environment,
    "tmp": tmp,
    "sleep": sleep,
    "memory": memory,
    "exit": lambda event, context: os._exit(3),
    "signal": lambda event, context: os.kill(os.getpid(), signal.SIGSEGV),
    "count": lambda event, context: {"count": seen},
    "unserialisable": lambda event, context: object(),
}


def handler(event, context):
    global seen
    seen += 1
    return CASES[event["case"]](event, context)
