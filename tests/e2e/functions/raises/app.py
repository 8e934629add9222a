"""Fails when asked to."""


def handle(event):
    if event.get("fail"):
        raise KeyError("told to fail")
    return {"ok": True}
