"""What all peers are given, and what is said of them when they end."""

import contextlib
import pathlib
import subprocess


class Guest:
    """What a machine is made of. `program` is words, with what its loader needs; the others are paths."""

    def __init__(self, program, kernel, initramfs, rootfs, appfs, cmdline, memory_mib):
        self.program = [str(word) for word in program]
        self.kernel, self.initramfs, self.rootfs, self.appfs = kernel, initramfs, rootfs, appfs
        self.cmdline, self.memory_mib = cmdline, memory_mib


class Saved:
    """The files of a saved machine."""

    def __init__(self, folder, name):
        self.memory, self.state = (pathlib.Path(folder) / f"{name}.{what}" for what in ("memory", "state"))

    def sizes(self):
        return {"memory_bytes": self.memory.stat().st_blocks * 512, "state_bytes": self.state.stat().st_size}


def program_said(name, process, *files):
    """Why there is nothing more to be had from a process: its last words, and its guest's."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    texts = [pathlib.Path(path).read_text(errors="replace").strip()[-600:] for path in files
             if pathlib.Path(path).exists()]
    return f"{name} has ended (code {process.returncode}): " + " | ".join(text for text in texts if text)
