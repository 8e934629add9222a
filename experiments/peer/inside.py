#!/usr/bin/python3
"""Measures peers where KVM is usable: `inside.py PLAN RESULTS`, both files of JSON. peers.py starts it there."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from peer import qemu  # noqa: E402
from peer.channel import PeerFailed  # noqa: E402

MEMORY = "/dev/shm"
DATA_FOLDERS = ("/usr/share/seabios", "/usr/share/qemu")


def resident(path, folder):
    """A copy of a file in memory, as `snapfaas host exec` keeps copies of our own: the emulated host reads the
    machine's files slowly, and no peer is to wait for that."""
    return shutil.copy(path, pathlib.Path(folder) / pathlib.Path(path).name)


def resident_program(path, folder):
    """The same of a program with its libraries and loader: the words that start it."""
    program = resident(path, folder)
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    libraries = re.findall(r"(/\S+) \(0x", listed)
    loader = next((library for library in libraries if pathlib.Path(library).name.startswith("ld-linux")), None)
    if loader is None:  # linked statically
        return [program]
    copies = pathlib.Path(folder) / "lib"
    copies.mkdir()
    for library in libraries:
        resident(library, copies)
    return [str(copies / pathlib.Path(loader).name), "--library-path", str(copies), program]


def resident_qemu(folder):
    words = resident_program(qemu.find_program(), folder)
    firmware = next((pathlib.Path(data) / "bios-microvm.bin" for data in ("/usr/share/qemu", "/usr/share/seabios")
                     if (pathlib.Path(data) / "bios-microvm.bin").exists()), None)
    if firmware is None:
        raise PeerFailed("QEMU has no firmware for its microvm machine: bios-microvm.bin")
    resident(firmware, folder)
    return [*words, "-L", folder]


def measure_qemu(plan, folder):
    images = {name: resident(plan[name], folder) for name in ("kernel", "initramfs", "rootfs", "appfs")}
    guest = qemu.Guest(resident_qemu(folder), cmdline=plan["cmdline"], memory_mib=plan["memory_mib"], **images)
    event = plan["event"]
    version = subprocess.run([*guest.program, "--version"], capture_output=True, text=True, check=True).stdout
    boots = [qemu.boot(guest, folder, event) for _ in range(plan["boots"])]
    made = {"version": version.splitlines()[0], "boot_ms": [one["response_ms"] for one in boots],
            "warm_ms": [one["warm_ms"] for one in boots]}
    try:
        saved = qemu.save(guest, folder, event)
        made["saved"] = saved.sizes()
        # In turn, so that what disturbs the machine disturbs both.
        made["restore_ms"], made["waiting_ms"] = [], []
        for _ in range(plan["restores"]):
            made["restore_ms"].append(qemu.restore(guest, folder, saved, event, waiting=False))
            made["waiting_ms"].append(qemu.restore(guest, folder, saved, event, waiting=True))
    except PeerFailed as error:
        made["restore_failed"] = str(error)
    return made


def main(plan_path, results_path):
    plan = json.loads(pathlib.Path(plan_path).read_text())
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="peers-") as folder:
        results = {"qemu": measure_qemu(plan, folder)}
    pathlib.Path(results_path).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PeerFailed as error:
        sys.exit(f"peers: {error}")
