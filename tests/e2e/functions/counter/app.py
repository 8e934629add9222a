"""Says what it finds of earlier calls, in its memory and in its files."""

import os

calls = 0
mark = "/tmp/mark"


def handle(event):
    global calls
    calls += 1
    found = os.path.exists(mark)
    with open(mark, "a", encoding="utf-8") as file:
        file.write(str(event["id"]) + "\n")
    with open(mark, encoding="utf-8") as file:
        ids = [int(line) for line in file]
    return {"id": event["id"], "calls": calls, "found": found, "ids": ids, "random": os.urandom(8).hex()}
