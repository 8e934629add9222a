"""QEMU's microvm machine with our guest: boot, save, restore.

A saved state is what QEMU migrates, without RAM (x-ignore-shared), and RAM is a file: written through a shared mapping
by the machine that is saved, mapped privately by those that are restored from it.
"""

import json
import pathlib
import shutil
import socket
import subprocess
import time

from peer.channel import Channel, PeerFailed, frame, milliseconds, result_of
from peer.machine import Saved, program_said

# Debian's second build has this machine alone and loads ten libraries instead of fifty.
PROGRAMS = ("qemu-system-x86_64-microvm", "qemu-system-x86_64")
# No option ROMs: the firmware finds the kernel by itself. Neither timer nor interrupt controller of old; but the clock,
# without which Linux looks for it for seconds.
MACHINE = "microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off"
SECONDS = 120


def find_program():
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise PeerFailed("QEMU is not installed: " + " and ".join(PROGRAMS) + " are missing")


def arguments(guest, channel_fd, console, qmp_fd, memory=None, share=False, incoming=False):
    """The command line. `memory`: the file that is RAM; without it RAM is anonymous."""
    size = f"{guest.memory_mib}M"
    machine = MACHINE + (",memory-backend=ram" if memory else "")
    words = [*guest.program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", machine,
             "-global", "virtio-mmio.force-legacy=false", "-cpu", "host", "-smp", "1", "-m", size]
    if memory:
        sharing = "on" if share else "off"
        words += ["-object", f"memory-backend-file,id=ram,size={size},mem-path={memory},share={sharing}"]
    for name, image in (("rootfs", guest.rootfs), ("appfs", guest.appfs)):
        words += ["-drive", f"id={name},file={image},format=raw,if=none,readonly=on",
                  "-device", f"virtio-blk-device,drive={name}"]
    words += ["-device", "virtio-rng-device", "-device", "virtio-serial-device",
              "-chardev", f"socket,id=requests,fd={channel_fd}",
              "-device", "virtserialport,chardev=requests,name=snapfaas.requests",
              "-chardev", "null,id=log", "-device", "virtserialport,chardev=log,name=snapfaas.log",
              "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console",
              "-chardev", f"socket,id=qmp,fd={qmp_fd}", "-mon", "chardev=qmp,mode=control"]
    # What is loaded brings its kernel in its memory: reading the files again would only take time.
    words += ["-incoming", "defer"] if incoming else ["-kernel", guest.kernel, "-initrd", guest.initramfs, "-append",
                                                      guest.cmdline]
    return [str(word) for word in words]


class Qmp:
    """QEMU's monitor: a command, and its answer; events are passed over."""

    def __init__(self, connection):
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._sent = 0
        self.send("qmp_capabilities")

    def run(self, command, **arguments_of_it):
        number = self.send(command, **arguments_of_it)
        while True:
            answer = self._read()
            if "error" in answer:
                raise PeerFailed(f"QEMU refuses a command ({command} or one before it): {answer['error'].get('desc')}")
            if answer.get("id") == number:
                return answer["return"]

    def send(self, command, **arguments_of_it):
        """Without waiting for the answer, which a later run() checks."""
        self._sent += 1
        message = {"execute": command, "id": self._sent, **({"arguments": arguments_of_it} if arguments_of_it else {})}
        self._connection.sendall(json.dumps(message).encode() + b"\n")
        return self._sent

    def _read(self):
        line = self._lines.readline()
        if not line:
            raise PeerFailed("QEMU has closed its monitor")
        return json.loads(line)


class Machine:
    """A QEMU process, killed at the end. The time of its launch is in `launched`."""

    def __init__(self, guest, folder, passed=(), **how):
        self._console = pathlib.Path(folder) / "console.log"
        self._said = pathlib.Path(folder) / "qemu.log"
        self.requests, channel_end = socket.socketpair()
        self._monitor, monitor_end = socket.socketpair()
        self._monitor.settimeout(SECONDS)
        self.qmp = Qmp(self._monitor)
        words = arguments(guest, channel_end.fileno(), self._console, monitor_end.fileno(), **how)
        with open(self._said, "wb") as said, channel_end, monitor_end:
            self.launched = time.monotonic()
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                             pass_fds=[channel_end.fileno(), monitor_end.fileno(), *passed])
        self.channel = Channel(self.requests, self._ended)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self.requests.close()
        self._monitor.close()

    def ask(self, event):
        """Sends the request and waits for its answer."""
        self.requests.sendall(frame("event", event))
        return result_of(self.channel, SECONDS)

    def wait(self):
        self._process.wait(SECONDS)

    def _ended(self):
        return program_said("QEMU", self._process, self._said, self._console)


def boot(guest, folder, event):
    """A boot: milliseconds from the process's launch to the first answer."""
    with Machine(guest, folder) as machine:
        machine.ask(event)
        return milliseconds(machine.launched)


IGNORE_SHARED = [{"capability": "x-ignore-shared", "state": True}]


def save(guest, folder, event):
    """Boots a machine and saves it behind its first answer: the function is loaded, and what a request touches is
    warm."""
    saved = Saved(folder, "qemu")
    with open(saved.memory, "wb") as memory:
        memory.truncate(guest.memory_mib << 20)
    with Machine(guest, folder, memory=saved.memory, share=True) as machine:
        machine.ask(event)
        # Not stopped by hand: a machine that was running when it was saved runs when it has been loaded.
        machine.qmp.run("migrate-set-capabilities", capabilities=IGNORE_SHARED)
        machine.qmp.run("migrate", uri=f"exec:cat > '{saved.state}'")
        deadline = time.monotonic() + SECONDS
        while (status := machine.qmp.run("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > deadline:
                raise PeerFailed(f"QEMU cannot save its state: {status}")
            time.sleep(0.05)
        machine.qmp.run("quit")
        machine.wait()
    return saved


def restore(guest, folder, saved, event, waiting):
    """A restore, in milliseconds from the request's arrival to its answer. The process is started when the request
    arrives, or (`waiting`) before, and waits to be told of it with all but the saved state in place."""
    with open(saved.state, "rb") as state, \
            Machine(guest, folder, passed=[state.fileno()], memory=saved.memory, incoming=True) as machine:
        # Ahead of its need: the program finds the commands when it has come up.
        machine.qmp.send("migrate-set-capabilities", capabilities=IGNORE_SHARED)
        arrived = machine.launched
        if waiting:
            machine.qmp.run("query-status")
            arrived = time.monotonic()
        machine.qmp.send("migrate-incoming", uri=f"fd:{state.fileno()}")
        machine.ask(event)
        return milliseconds(arrived)
