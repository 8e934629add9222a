"""Counts the hooks around its snapshot."""

import os
import random

from snapshot_restore_py import register_after_restore, register_before_snapshot

before = 0
after = 0
drawn = {}


@register_before_snapshot
def count_before():
    global before
    before += 1
    drawn["at_snapshot"] = os.urandom(16).hex()


@register_after_restore
def count_after():
    global after
    after += 1
    drawn["urandom"] = os.urandom(16).hex()
    drawn["random"] = random.random()


def handle(event):
    return {"before": before, "after": after, **drawn}
