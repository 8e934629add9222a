import random
import uuid

from snapshot_restore_py import register_after_restore, register_before_snapshot

hooks = []


@register_before_snapshot
def before():
    hooks.append("before")


@register_after_restore
def after():
    hooks.append("after")


def handler(event, context):
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    return {"hooks": hooks, "random": random.random(), "uuid": str(uuid.uuid4()), "boot": boot}
