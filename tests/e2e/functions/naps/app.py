"""Sleeps five times ten milliseconds and says how long that took."""

import time


def handle(event):
    began = time.monotonic_ns()
    for _ in range(5):
        time.sleep(0.01)
    return {"elapsed_ns": time.monotonic_ns() - began}
