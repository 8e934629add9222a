"""Peers: what is put into their guests, how they are spoken to, and what is said of them. No microVM is started."""

import json
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import types
import unittest
from unittest import mock

import peers
from lab import report
from lab.run import data_folder
from lab_test import KEPT
from peer import channel, firecracker, images, inside, machine, qemu
from peer.channel import PeerFailed

# Speaks QMP and the request channel as QEMU does, as far as peers go. What its guest does is in the command line.
FAKE_QEMU = """
    import json, os, re, socket, sys
    words = " ".join(sys.argv)
    if "fail=yes" in words:
        sys.exit("Could not access KVM kernel module")
    def end(name):
        return socket.socket(fileno=int(re.search(rf"socket,id={name},fd=(\\d+)", words)[1]))
    qmp, requests = end("qmp"), end("requests")
    lines = qmp.makefile("rb")
    qmp.sendall(b'{"QMP": {}}\\n{"event": "RESUME"}\\n')
    running = "-incoming" not in words
    said = []
    def listen(until):
        for line in lines:
            command = json.loads(line)
            said.append(command["execute"])
            answer = {"id": command["id"], "return": {"status": "completed"}}
            if command["execute"] == "migrate" and "refuse=yes" in words:
                answer = {"id": command["id"], "error": {"desc": "State blocked by device"}}
            if command["execute"] == "migrate-incoming":
                os.fstat(int(command["arguments"]["uri"].removeprefix("fd:")))
            qmp.sendall(json.dumps(answer).encode() + b"\\n")
            if command["execute"] in until:
                return
    if not running:
        listen(["migrate-incoming"])
    requests.recv(100)
    answer = json.dumps(said).encode()
    requests.sendall(b"result %d\\n" % len(answer) + answer)
    listen(["quit"])
"""

# Firecracker's API, and a guest behind its vsock: it does not listen at once, and ends its first connection.
# What it was asked, a file keeps.
FAKE_FIRECRACKER = """
    import http.server, json, pathlib, socket, socketserver, sys, threading
    asked = pathlib.Path(__file__).with_suffix(".asked")
    if len(sys.argv) == 1 or sys.argv[1] != "--api-sock":
        sys.exit("wrong usage")
    vsock = []
    def serve_guest():
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(vsock[0] if vsock else sys.argv[2].replace(".api", ".vsock"))
        listener.listen()
        listener.accept()[0].close()
        early = listener.accept()[0]
        early.recv(100)
        early.sendall(b"OK 1073741824\\n")
        early.close()
        while True:
            host = listener.accept()[0]
            if host.recv(100) == b"CONNECT 1024\\n":
                host.sendall(b"OK 1073741824\\n")
                while host.recv(100):
                    host.sendall(b"result 1\\n7")
    class Api(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with open(asked, "a") as file:
                file.write(json.dumps([self.command, self.path, json.loads(body or "null")]) + "\\n")
            if self.path == "/vsock":
                vsock.append(json.loads(body)["uds_path"])
            if self.path in ("/actions", "/snapshot/load"):
                threading.Thread(target=serve_guest, daemon=True).start()
            refused = b"missing.erofs" in body
            said = b'{"fault_message": "no such drive"}' if refused else b""
            self.send_response(400 if refused else 204)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
        do_GET = do_PUT = do_PATCH = answer
        def log_message(self, *_): pass
        def address_string(self): return ""
    socketserver.UnixStreamServer(sys.argv[2], Api).serve_forever()
"""


class ImagesTest(unittest.TestCase):
    def test_data_is_where_the_programs_look_for_it(self):
        for environment, wanted in (({"SNAPFAAS_DATA": "/d", "XDG_DATA_HOME": "/x"}, "/d"),
                                    ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/snapfaas"),
                                    ({"HOME": "/h", "SNAPFAAS_DATA": ""}, "/h/.local/share/snapfaas")):
            self.assertEqual(data_folder(environment), pathlib.Path(wanted))

    def test_a_file_comes_out_of_an_archive_as_it_went_in(self):
        archive = images.cpio([images.cpio_entry("a", b"12345"), images.cpio_entry("modules/b.ko", b"")])
        self.assertEqual((images.cpio_file(archive, "a"), images.cpio_file(archive, "modules/b.ko")), (b"12345", b""))
        self.assertEqual(len(archive) % 4, 0)
        with self.assertRaises(KeyError):
            images.cpio_file(archive, "c")

    def test_the_peers_initramfs_is_ours_and_more_behind_it(self):
        listed = b"/modules/virtio.ko\n/modules/libnvdimm.ko\n/modules/virtio_pmem.ko\n/modules/erofs.ko\n"
        own = images.cpio([images.cpio_entry("modules.list", listed), images.cpio_entry("init", b"ours")])
        made = images.peer_initramfs(own, "first", b"program", {"virtio_blk": b"module"})
        self.assertTrue(made.startswith(own))
        added = made[len(own):]
        self.assertEqual(images.cpio_file(added, "modules.list"),
                         b"/modules/virtio.ko\n/modules/erofs.ko\n/modules/virtio_blk.ko\n")
        self.assertEqual(images.cpio_file(added, "modules/virtio_blk.ko"), b"module")
        self.assertEqual(images.cpio_file(added, "first"), b"program")
        with self.assertRaises(KeyError):  # the guest's own init stays
            images.cpio_file(added, "init")


class ChannelTest(unittest.TestCase):
    def setUp(self):
        self.guest, own = socket.socketpair()
        self.addCleanup(self.guest.close)
        self.addCleanup(own.close)
        self.channel = channel.Channel(own, lambda: "it has ended")

    def test_frames_come_in_pieces_and_together(self):
        self.guest.sendall(b"resu")
        threading.Timer(0.05, self.guest.sendall, [b"lt 4\ntrueresult 1\n7"]).start()
        self.assertEqual(self.channel.answer(5), ("result", "true"))
        self.assertEqual(self.channel.answer(5), ("result", "7"))

    def test_what_is_no_answer_is_said(self):
        for sent, why in ((b"error 7\n{\"a\":1}", "answered with error: {\"a\":1}"), (b"panic\n", "b'panic'")):
            self.guest.sendall(sent)
            with self.assertRaisesRegex(PeerFailed, why):
                channel.result_of(self.channel, 5)
            self.channel._bytes = b""

    def test_silence_and_an_end_are_told_apart(self):
        with self.assertRaisesRegex(PeerFailed, "in time"):
            self.channel.answer(0.01)
        self.guest.close()
        with self.assertRaisesRegex(PeerFailed, "it has ended"):
            self.channel.answer(5)

    def test_a_request_is_counted_in_bytes(self):
        self.assertEqual(channel.frame("event", '"ä"'), b'event 4\n"\xc3\xa4"')


class QemuTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        program = self.folder / "fake_qemu.py"
        program.write_text(textwrap.dedent(FAKE_QEMU))
        self.program = program

    def guest(self, cmdline="quiet"):
        return machine.Guest([sys.executable, self.program], "vmlinux", "initramfs", "rootfs", "appfs", cmdline, 128)

    def test_memory_is_shared_with_the_file_only_by_whom_is_saved(self):
        saved = qemu.arguments(self.guest(), 3, "log", 4, memory="/m", share=True)
        loaded = qemu.arguments(self.guest(), 3, "log", 4, memory="/m", incoming=True)
        self.assertIn("memory-backend-file,id=ram,size=128M,mem-path=/m,share=on", saved)
        self.assertIn("memory-backend-file,id=ram,size=128M,mem-path=/m,share=off", loaded)
        self.assertIn("-kernel", saved)
        self.assertNotIn("-kernel", loaded)
        self.assertIn("-incoming", loaded)

    def test_both_have_the_same_machine_and_devices(self):
        def devices(words):
            return [word for option, word in zip(words, words[1:]) if option in ("-device", "-M", "-cpu", "-global")]

        boot = qemu.arguments(self.guest(), 3, "log", 4, memory="/m", share=True)
        self.assertEqual(devices(boot), devices(qemu.arguments(self.guest(), 3, "log", 4, memory="/m", incoming=True)))

    def test_a_boot_is_timed(self):
        made = qemu.boot(self.guest(), self.folder, "{}")
        self.assertGreater(made, 0)

    def saved(self):
        saved = machine.Saved(self.folder, "qemu")
        saved.memory.write_bytes(bytes(4096))
        saved.state.write_bytes(b"state")
        return saved

    def test_a_restore_loads_the_state_with_memory_left_out(self):
        for waiting in (False, True):
            with self.subTest(waiting=waiting):
                self.assertGreater(qemu.restore(self.guest(), self.folder, self.saved(), "{}", waiting), 0)

    def test_what_refuses_to_be_saved_is_named(self):
        with self.assertRaisesRegex(PeerFailed, "migrate.*State blocked by device"):
            qemu.save(self.guest("refuse=yes"), self.folder, "{}")

    def test_what_a_program_that_ends_has_said_is_passed_on(self):
        with self.assertRaisesRegex(PeerFailed, "Could not access KVM"):
            qemu.boot(self.guest("fail=yes"), self.folder, "{}")


class FirecrackerTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.program = self.folder / "fake_firecracker.py"
        self.program.write_text(textwrap.dedent(FAKE_FIRECRACKER))
        self.saved = machine.Saved(self.folder, "firecracker")

    def guest(self, appfs="appfs.erofs", words=()):
        return machine.Guest([sys.executable, self.program, *words], "vmlinux", "initramfs", "rootfs.erofs", appfs,
                             "quiet", 128)

    def asked(self):
        return [json.loads(line) for line in self.program.with_suffix(".asked").read_text().splitlines()]

    def test_a_boot_configures_and_then_starts(self):
        self.assertGreater(firecracker.boot(self.guest(), self.folder, "{}"), 0)
        asked = self.asked()
        self.assertEqual([path for _, path, _ in asked],
                         ["/machine-config", "/boot-source", "/drives/rootfs", "/drives/appfs", "/entropy", "/vsock",
                          "/actions"])
        bodies = {path: body for _, path, body in asked}
        self.assertEqual(bodies["/machine-config"], {"vcpu_count": 1, "mem_size_mib": 128})
        self.assertEqual(bodies["/boot-source"], {"kernel_image_path": "vmlinux", "initrd_path": "initramfs",
                                                  "boot_args": "quiet"})
        self.assertEqual(bodies["/drives/appfs"], {"drive_id": "appfs", "path_on_host": "appfs.erofs",
                                                   "is_root_device": False, "is_read_only": True})
        self.assertEqual(bodies["/actions"], {"action_type": "InstanceStart"})

    def test_what_is_saved_was_paused(self):
        firecracker.save(self.guest(), self.folder, "{}")
        self.assertEqual(self.asked()[-2:], [
            ["PATCH", "/vm", {"state": "Paused"}],
            ["PUT", "/snapshot/create", {"snapshot_type": "Full", "snapshot_path": str(self.saved.state),
                                         "mem_file_path": str(self.saved.memory)}]])

    def test_a_restore_maps_the_file_and_goes_on_at_once(self):
        load = ["PUT", "/snapshot/load", {"snapshot_path": str(self.saved.state), "resume_vm": True,
                                          "mem_backend": {"backend_type": "File",
                                                          "backend_path": str(self.saved.memory)}}]
        for waiting, wanted in ((False, [load]), (True, [["GET", "/", None], load])):
            self.program.with_suffix(".asked").unlink(missing_ok=True)
            self.assertGreater(firecracker.restore(self.guest(), self.folder, self.saved, "{}", waiting), 0)
            self.assertEqual(self.asked(), wanted)

    def test_what_the_api_refuses_is_named(self):
        with self.assertRaisesRegex(PeerFailed, "PUT /drives/appfs: 400 .*no such drive"):
            firecracker.boot(self.guest("missing.erofs"), self.folder, "{}")

    def test_a_program_that_ends_is_not_waited_for(self):
        with self.assertRaisesRegex(PeerFailed, r"has ended \(code 1\): wrong usage"):
            firecracker.boot(self.guest(words=["--what"]), self.folder, "{}")


class InsideTest(unittest.TestCase):
    def test_a_program_is_started_from_a_copy_with_its_libraries(self):
        with tempfile.TemporaryDirectory() as folder:
            words = inside.resident_program("/bin/echo", folder)
            self.assertTrue(all(word.startswith(folder) or word == "--library-path" for word in words), words)
            said = subprocess.run([*words, "it works"], capture_output=True, text=True, check=True).stdout
            self.assertEqual(said, "it works\n")

    def test_a_restore_that_fails_leaves_the_boots(self):
        def fail(*_):
            raise PeerFailed("state blocked")

        peer = types.SimpleNamespace(boot=lambda *_: 5.0, save=fail)
        guest = machine.Guest([sys.executable], "", "", "", "", "", 128)
        made = inside.measure_peer(peer, guest, {"event": "{}", "boots": 2, "restores": 1}, "/nowhere")
        self.assertEqual(made, {"version": f"Python {platform.python_version()}", "boot_ms": [5.0, 5.0],
                                "restore_failed": "state blocked"})


class PlanTest(unittest.TestCase):
    def plan(self, binary):
        files = types.SimpleNamespace(kernel="/k/vmlinux", rootfs="/r/rootfs.erofs")
        with tempfile.TemporaryDirectory() as folder, \
                mock.patch.multiple(images, Runtime=lambda *_: files, function_image=lambda *_: "/w/appfs.erofs",
                                    initramfs=lambda _, __, peer, ___: f"/w/{peer}.cpio"):
            run = types.SimpleNamespace(folder=pathlib.Path(folder), root=pathlib.Path("/p"), firecracker=binary,
                                        snapfaas=lambda *_, text: '"console=ttyS0 quiet"\n')
            return peers.prepare(run, "/app")

    def test_the_guest_has_our_files_and_our_command_line(self):
        plan = self.plan(None)
        self.assertEqual(plan, {"images": {"kernel": "/k/vmlinux", "rootfs": "/r/rootfs.erofs",
                                           "appfs": "/w/appfs.erofs"},
                                "qemu": {"initramfs": "/w/qemu.cpio", "cmdline": "console=ttyS0 quiet rdinit=/disks"}})

    def test_firecracker_is_measured_where_one_was_brought(self):
        self.assertEqual(self.plan(pathlib.Path("/b/firecracker"))["firecracker"],
                         {"initramfs": "/w/firecracker.cpio", "cmdline": "console=ttyS0 quiet rdinit=/vsock-guest",
                          "program": "/b/firecracker"})


class RenderTest(unittest.TestCase):
    SAMPLES = {"ours": {"boot_ms": [100, 100], "primed": [10, 10], "mmap": [20, 20]},
               "qemu": {"version": "QEMU 7", "boot_ms": [300, 300], "restore_ms": [900, 900], "waiting_ms": [60, 60],
                        "saved": {"memory_bytes": 2**20, "state_bytes": 2**19}}}

    def section(self, samples):
        made = report.Report({**KEPT, "experiment": "peers"}, pathlib.Path("/nowhere"), "Title")
        peers.render(samples, made)
        return made.text()

    def test_ratios_are_to_what_a_node_does(self):
        rows = report.claim_rows(self.section(self.SAMPLES))
        self.assertEqual([row.split(" | ")[3] for row in rows], ["3.0", "6.0", "90.0"])

    def test_firecracker_is_spoken_of_where_it_was_measured(self):
        self.assertNotIn("Firecracker", self.section(self.SAMPLES))
        text = self.section({**self.SAMPLES, "firecracker": {**self.SAMPLES["qemu"], "version": "Firecracker v1.9"}})
        self.assertEqual(len(report.claim_rows(text)), 6)
        self.assertIn("Firecracker v1.9", text)

    def test_a_restore_that_failed_is_said_with_its_reason(self):
        samples = json.loads(json.dumps(self.SAMPLES))
        for gone in ("restore_ms", "waiting_ms", "saved"):
            del samples["qemu"][gone]
        samples["qemu"]["restore_failed"] = "State blocked"
        text = self.section(samples)
        self.assertIn("QEMU microvm was not restored: State blocked", text)
        self.assertIn("| QEMU microvm | restore, by a process that waited | failed |", text)
        self.assertEqual(len(report.claim_rows(text)), 1)


if __name__ == "__main__":
    unittest.main()
