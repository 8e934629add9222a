"""Cannot come to life again after its snapshot."""

from snapshot_restore_py import register_after_restore


@register_after_restore
def reconnect():
    raise RuntimeError("the database is gone")


def handle(event):
    return event
