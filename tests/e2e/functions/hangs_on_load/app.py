"""Never gets loaded."""

import time

time.sleep(1_000_000)


def handle(event):
    return event
