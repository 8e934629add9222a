"""Says whether it came as bytecode, or fails when asked to."""

import os


def handle(event):
    if event.get("fail"):
        raise KeyError("told to fail")
    return {"bytecode": os.path.exists(__cached__), "source": __file__}
