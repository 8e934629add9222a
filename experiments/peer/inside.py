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

from peer import firecracker, qemu  # noqa: E402
from peer.channel import PeerFailed  # noqa: E402
from peer.machine import Guest  # noqa: E402

PEERS = {"qemu": qemu, "firecracker": firecracker}
MEMORY = "/dev/shm"


def resident(path, folder):
    """A copy of a file in memory, as `snapfaas host exec` keeps copies of our own: the emulated host reads the
    machine's files slowly, and no peer is to wait for that."""
    return str(shutil.copy(path, pathlib.Path(folder) / pathlib.Path(path).name))


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


def measure_peer(peer, guest, plan, folder):
    """Boots and restores of one peer, whose module is `peer`. A restore that does not work is said, not passed over."""
    event = plan["event"]
    said = subprocess.run([*guest.program, "--version"], capture_output=True, text=True, check=False).stdout
    made = {"version": (said.strip() or "of unknown version").splitlines()[0],
            "boot_ms": [peer.boot(guest, folder, event) for _ in range(plan["boots"])]}
    try:
        saved = peer.save(guest, folder, event)
        restores = {"restore_ms": [], "waiting_ms": []}
        # In turn, so that what disturbs the machine disturbs both.
        for _ in range(plan["restores"]):
            restores["restore_ms"].append(peer.restore(guest, folder, saved, event, waiting=False))
            restores["waiting_ms"].append(peer.restore(guest, folder, saved, event, waiting=True))
        made.update(restores, saved=saved.sizes())
    except PeerFailed as error:
        made["restore_failed"] = str(error)
    return made


def measure(plan):
    """Each peer has the memory to itself."""
    results = {}
    for name, peer in PEERS.items():
        if name not in plan:
            continue
        with tempfile.TemporaryDirectory(dir=MEMORY, prefix="peers-") as folder:
            program = resident_qemu(folder) if peer is qemu else resident_program(plan[name]["program"], folder)
            files = {what: resident(path, folder)
                     for what, path in {**plan["images"], "initramfs": plan[name]["initramfs"]}.items()}
            guest = Guest(program, cmdline=plan[name]["cmdline"], memory_mib=plan["memory_mib"], **files)
            results[name] = measure_peer(peer, guest, plan, folder)
    return results


def main(plan_path, results_path):
    plan = json.loads(pathlib.Path(plan_path).read_text())
    pathlib.Path(results_path).write_text(json.dumps(measure(plan), indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PeerFailed as error:
        sys.exit(f"peers: {error}")
