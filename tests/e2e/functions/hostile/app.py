"""Does what it is told, mostly harm."""

import os
import time


def loop():
    while True:
        pass


def fork():
    while True:
        try:
            os.fork()
        except OSError:
            pass


def fill_memory():
    held = []
    while True:
        held.append(bytearray(b"x") * (1 << 20))


def fill_disk():
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))


def print_gigabyte():
    line = "x" * 1023
    for _ in range(1 << 20):
        print(line)


def close_channel():
    os.closerange(0, 16)


def sleep():
    time.sleep(600)


def leave():
    os._exit(3)


HARM = {
    "loop": loop,
    "fork": fork,
    "memory": fill_memory,
    "disk": fill_disk,
    "print": print_gigabyte,
    "close": close_channel,
    "sleep": sleep,
    "exit": leave,
}


def handler(event, context):
    harm = event.get("harm")
    if harm:
        HARM[harm]()
    return {"echo": event.get("n"), "version": context.function_version}
