"""Fills /tmp."""

import os


def handle(event):
    before = os.listdir("/tmp")
    try:
        with open("/tmp/file", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
    except OSError as error:
        return {"before": before, "error": error.strerror}
