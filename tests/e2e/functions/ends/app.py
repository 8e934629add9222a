"""Ends its process, in the way that it is asked to."""

import ctypes
import os


def handle(event):
    if event["how"] == "exit":
        os._exit(event["status"])
    if event["how"] == "fault":
        ctypes.string_at(0)
    hoard = []
    while event["how"] == "hoard":
        hoard.append(bytearray(b"x") * (1 << 20))
