"""Firecracker with our guest, by its API: boot, snapshot, restore. The binary is brought by who has one.

Firecracker has no virtio-console, so requests go over vsock and the guest has an init and an agent of its own
(vsock_guest.c). It finds the devices by ACPI, which Firecracker has since 1.8.
"""

import http.client
import json
import pathlib
import socket
import subprocess
import time

from peer.channel import Channel, ChannelClosed, PeerFailed, frame, milliseconds, result_of
from peer.machine import Saved, program_said

SECONDS = 120
PORT = 1024
STEP = 0.002  # between two looks for what is not there yet


def boot_requests(guest, vsock):
    """What makes a machine: paths of the API and their bodies, in order."""
    drives = [(name, {"drive_id": name, "path_on_host": str(image), "is_root_device": False, "is_read_only": True})
              for name, image in (("rootfs", guest.rootfs), ("appfs", guest.appfs))]
    return [("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": guest.memory_mib}),
            ("PUT", "/boot-source", {"kernel_image_path": str(guest.kernel), "initrd_path": str(guest.initramfs),
                                     "boot_args": guest.cmdline}),
            *(("PUT", f"/drives/{name}", body) for name, body in drives),
            ("PUT", "/entropy", {}),
            ("PUT", "/vsock", {"guest_cid": 3, "uds_path": str(vsock)}),
            ("PUT", "/actions", {"action_type": "InstanceStart"})]


def save_requests(saved):
    return [("PATCH", "/vm", {"state": "Paused"}),
            ("PUT", "/snapshot/create", {"snapshot_type": "Full", "snapshot_path": str(saved.state),
                                         "mem_file_path": str(saved.memory)})]


def load_request(saved):
    """Firecracker maps the file of memory privately."""
    return ("PUT", "/snapshot/load", {"snapshot_path": str(saved.state), "resume_vm": True,
                                      "mem_backend": {"backend_type": "File", "backend_path": str(saved.memory)}})


class _Api(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Machine:
    """A Firecracker process, killed at the end. The time of its launch is in `launched`."""

    def __init__(self, guest, folder):
        folder = pathlib.Path(folder)
        self._api_path, self.vsock = folder / "firecracker.api", folder / "firecracker.vsock"
        self._console = folder / "firecracker.log"
        # Left by the one before: Firecracker makes them anew, and refuses where there is one.
        for path in (self._api_path, self.vsock):
            path.unlink(missing_ok=True)
        with open(self._console, "wb") as said:
            self.launched = time.monotonic()
            self._process = subprocess.Popen([*guest.program, "--api-sock", str(self._api_path)],
                                             stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self._api = _Api(self._api_path)
        self._requests = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._api.close()
        if self._requests:
            self._requests.close()

    def call(self, method, path, body):
        answer = self._until(lambda: self._send(method, path, body))
        said = answer.read().decode(errors="replace")
        if answer.status >= 300:
            raise PeerFailed(f"Firecracker refuses {method} {path}: {answer.status} {said[:300]}")

    def up(self):
        """Waits until the API answers."""
        self.call("GET", "/", None)

    def ask(self, event):
        """Sends the request and waits for its answer. Behind a restore the guest's driver ends all connections when it
        comes to it, one that has just been made too: the request is sent again then."""
        return self._until(lambda: self._try_to_ask(event))

    def hang_up(self):
        """A connection would not outlive a snapshot; the guest's listener does."""
        self._requests.close()
        self._requests = None

    def _try_to_ask(self, event):
        self._requests = self._requests or self._connect()
        if self._requests is None:
            return None
        try:
            self._requests.sendall(frame("event", event))
            return result_of(Channel(self._requests), SECONDS)
        except (ChannelClosed, ConnectionError):
            self.hang_up()
            return None

    def _send(self, method, path, body):
        try:
            self._api.request(method, path, None if body is None else json.dumps(body),
                              {"Content-Type": "application/json", "Accept": "application/json"})
        except (FileNotFoundError, ConnectionRefusedError):
            self._api.close()
            return None  # it has not come up yet
        return self._api.getresponse()

    def _connect(self):
        """A connection to the guest's port; None while nobody listens there."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(SECONDS)
        try:
            connection.connect(str(self.vsock))
            connection.sendall(b"CONNECT %d\n" % PORT)
            line = b""
            while not line.endswith(b"\n") and (got := connection.recv(1)):
                line += got
            if line.startswith(b"OK "):
                return connection
        except (FileNotFoundError, ConnectionError):
            pass
        connection.close()
        return None

    def _until(self, attempt):
        deadline = time.monotonic() + SECONDS
        while (made := attempt()) is None:
            if self._process.poll() is not None:
                raise PeerFailed(self._ended())
            if time.monotonic() > deadline:
                raise PeerFailed("Firecracker's guest does not answer in time")
            time.sleep(STEP)
        return made

    def _ended(self):
        return program_said("Firecracker", self._process, self._console)


def _boot(machine, guest, event):
    for request in boot_requests(guest, machine.vsock):
        machine.call(*request)
    machine.ask(event)


def boot(guest, folder, event):
    """A boot: milliseconds from the process's launch to the first answer."""
    with Machine(guest, folder) as machine:
        _boot(machine, guest, event)
        return milliseconds(machine.launched)


def save(guest, folder, event):
    """Boots a machine and saves it behind its first answer, as of QEMU."""
    saved = Saved(folder, "firecracker")
    with Machine(guest, folder) as machine:
        _boot(machine, guest, event)
        machine.hang_up()
        for request in save_requests(saved):
            machine.call(*request)
    return saved


def restore(guest, folder, saved, event, waiting):
    """A restore, in milliseconds from the request's arrival to its answer. The process is started when the request
    arrives, or (`waiting`) before."""
    with Machine(guest, folder) as machine:
        arrived = machine.launched
        if waiting:
            machine.up()
            arrived = time.monotonic()
        machine.call(*load_request(saved))
        machine.ask(event)
        return milliseconds(arrived)
