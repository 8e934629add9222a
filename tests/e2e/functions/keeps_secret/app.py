"""Leaves a secret wherever it can, and looks for one."""

import gc
import os
import random
import socket
import uuid

BALLAST_BYTES = 20 * 1024 * 1024

calls = 0
secret_of_before = None
ballast = None
kept = None


def leave(secret):
    global secret_of_before, kept
    secret_of_before = secret
    os.environ["SECRET"] = secret
    with open("/tmp/secret", "w", encoding="ascii") as file:
        file.write(secret)
    # The list is for the collector to find: it does not look at what is in the function's snapshot.
    kept = [secret]


def fill_memory(secret):
    global ballast
    ballast = bytearray(secret.encode("ascii")) * (BALLAST_BYTES // len(secret))


def in_files(secret):
    for folder, _, names in os.walk("/tmp"):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                if secret.encode("ascii") in file.read():
                    return True
    return False


def in_objects(secret):
    for container in gc.get_objects():
        if isinstance(container, dict):
            members = list(container.values())
        elif type(container) in (list, tuple, set):
            members = list(container)
        else:
            continue
        for member in members:
            if isinstance(member, str) and secret in member:
                return True
            if isinstance(member, (bytes, bytearray)) and secret.encode("ascii") in member:
                return True
    return False


def search(secret):
    own = {name: value for name, value in globals().items() if isinstance(value, str)}
    return {
        "global": any(secret in value for value in own.values()),
        "environment": any(secret in value for value in os.environ.values()),
        "file": in_files(secret),
        "object": in_objects(secret),
        "memory": ballast is not None,
    }


def identity():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    return {
        "urandom": os.urandom(16).hex(),
        "random": random.random(),
        "uuid": str(uuid.uuid4()),
        "boot_id": boot_id,
        "hostname": socket.gethostname(),
    }


def resident_kib():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4


def handle(event):
    global calls
    calls += 1
    answer = {
        # The secret comes reversed, so that the request itself is not found.
        "found": search(event["look_for_reversed"][::-1]),
        "identity": identity(),
        "resident_kib": resident_kib(),
        "state": {
            "calls": calls,
            "environment": dict(os.environ),
            "files": sorted(os.listdir("/tmp")),
            "folder": os.getcwd(),
        },
    }
    if "leave" in event:
        leave(event["leave"])
    if "fill" in event:
        fill_memory(event["fill"])
    return answer
