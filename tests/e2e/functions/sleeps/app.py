"""Answers late."""

import time


def handle(event):
    time.sleep(event["seconds"])
    return "awake"
