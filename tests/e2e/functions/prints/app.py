"""Prints, then answers."""

import sys


def handler(event, context):
    print("to the log", flush=True)
    print("errors too", file=sys.stderr, flush=True)
    return {"function": context.function_name, "memory": context.memory_limit_in_mb}
