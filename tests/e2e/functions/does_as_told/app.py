"""Does what the event says, also what no function should."""

import os
import signal
import time

kept = None


def handler(event, context):
    global kept
    before, kept = kept, event.get("keep", kept)
    print("told for " + context.aws_request_id, flush=True)
    what = event.get("do")
    if what == "exit":
        os._exit(3)
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "loop":
        while True:
            pass
    if what == "sleep":
        time.sleep(1000)
    if what == "raise":
        raise ValueError("as told")
    if what == "flood":
        lines = (b"x" * 1023 + b"\n") * 64
        for _ in range(event["pieces"]):
            os.write(1, lines)
    return {"kept": before, "request": context.aws_request_id, "version": context.function_version}
