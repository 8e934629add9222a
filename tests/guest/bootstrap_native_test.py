"""Tests of guest/bootstrap/native as a process of its own, spoken to over its descriptors as the agent and the host do,
and over HTTP as a function does. Usage: bootstrap_native_test.py PATH_OF_BOOTSTRAP [unittest arguments]."""

import base64
import fcntl
import http.client
import json
import os
import pathlib
import queue
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BOOTSTRAP = pathlib.Path("bootstrap")
SEED = "11" * 32
TIMEOUT = 60
MAX_RESPONSE = 6_291_556
API = "/2018-06-01/runtime/"
NEXT = API + "invocation/next"

# The function's program, for tests that play the function themselves: says who and where it is, then ends as told.
STAND_IN = """#!/bin/sh
echo to the log
pwd >folder
cat /proc/$$/environ >environment
echo $$ >pid.new && mv pid.new pid
read -r how <end
case $how in kill) kill -SEGV $$ ;; *) exit "$how" ;; esac
"""


class Guest:
    """One bootstrap, with the function's folder in place of /var/task and any port in place of 9001."""

    def __init__(self, files):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bootstrap-test-"))
        self.task = self.folder / "task"
        self.task.mkdir()
        for name, text in files.items():
            path = self.task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        os.mkfifo(self.task / "end")
        self.host, channel = socket.socketpair()
        control_in, self.to_bootstrap = os.pipe()
        self.from_bootstrap, control_out = os.pipe()
        self.output = open(self.folder / "log", "w+b")
        given = {3: channel.fileno(), 4: control_in, 5: control_out}
        # Out of each other's way before they get their numbers.
        high = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for number, fd in given.items()}

        def set_up():
            for number, fd in high.items():
                os.dup2(fd, number, inheritable=True)

        self.process = subprocess.Popen(
            [BOOTSTRAP], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, close_fds=False,
            preexec_fn=set_up, start_new_session=True,
            env={"LAMBDA_TASK_ROOT": str(self.task), "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:0", "TZ": ":UTC",
                 "PATH": "/usr/bin:/bin"},
        )
        channel.close()
        for fd in (control_in, control_out, *high.values()):
            os.close(fd)
        self.control = os.fdopen(self.from_bootstrap, "r")
        self.connections = []
        # The host always reads; a bootstrap that has a large answer for it waits for that.
        self.frames = queue.Queue()
        self.reader = threading.Thread(target=self.read_frames, daemon=True)
        self.reader.start()

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for connection in self.connections:
            connection.close()
        self.control.close()
        os.close(self.to_bootstrap)
        self.reader.join()
        self.host.close()
        self.output.close()
        shutil.rmtree(self.folder)

    # The agent and the host.

    def tell(self, line):
        os.write(self.to_bootstrap, line.encode() + b"\n")

    def hear(self):
        return self.control.readline().rstrip("\n")

    def says_nothing(self):
        """Nothing on the control pipe nor on the request channel for a while."""
        return not select.select([self.from_bootstrap], [], [], 0.1)[0] and self.frames.empty()

    def send(self, kind, payload):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        self.host.sendall(b"%s %d\n%s" % (kind.encode(), len(payload), payload))

    def read_frames(self):
        with self.host.makefile("rb") as stream:
            while header := stream.readline():
                kind, length = header.split()
                self.frames.put((kind.decode(), stream.read(int(length))))

    def receive_bytes(self):
        return self.frames.get(timeout=TIMEOUT)

    def receive(self):
        kind, payload = self.receive_bytes()
        return kind, json.loads(payload)

    def log(self):
        return (self.folder / "log").read_text()

    # The function.

    def pid(self):
        deadline = time.time() + TIMEOUT
        while not (self.task / "pid").exists():
            assert time.time() < deadline, self.log()
            time.sleep(0.01)
        return int((self.task / "pid").read_text())

    def environment(self, current=False):
        pid = self.pid()
        text = pathlib.Path(f"/proc/{pid}/environ" if current else self.task / "environment").read_bytes()
        return dict(item.split("=", 1) for item in text.decode().rstrip("\0").split("\0"))

    def end(self, how):
        self.pid()
        (self.task / "end").write_text(f"{how}\n")

    def address(self):
        host, port = self.environment()["AWS_LAMBDA_RUNTIME_API"].split(":")
        return host, int(port)

    def connect(self):
        connection = http.client.HTTPConnection(*self.address(), timeout=TIMEOUT)
        self.connections.append(connection)
        return connection

    def connect_raw(self):
        connection = socket.create_connection(self.address(), TIMEOUT)
        self.connections.append(connection)
        return connection


class Function:
    """The function's side of the Runtime API over one connection."""

    def __init__(self, guest):
        self.connection = guest.connect()

    def ask(self, method, path, body=None, headers=None):
        self.begin(method, path, body, headers)
        return self.finish()

    def begin(self, method, path, body=None, headers=None):
        self.connection.request(method, API + path, body, headers or {})

    def finish(self):
        response = self.connection.getresponse()
        return response.status, dict(response.headers), response.read()

    def next(self):
        """(request id, headers, event)"""
        status, headers, event = self.ask("GET", "invocation/next")
        assert status == 200, (status, event)
        return headers["Lambda-Runtime-Aws-Request-Id"], headers, event

    def post(self, path, body, headers=None):
        if not isinstance(body, (bytes, str)) and not hasattr(body, "__next__"):
            body = json.dumps(body)
        status, _, answer = self.ask("POST", path, body, headers)
        return status, json.loads(answer) if answer else None


class NativeTest(unittest.TestCase):
    def start(self, files=None, seed=SEED, checkpoint=False):
        guest = Guest({"bootstrap": STAND_IN, **(files or {})})
        self.addCleanup(guest.close)
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {seed} checkpoint" if checkpoint else f"load {seed}")
        return guest

    def waiting(self, files=None):
        """A function that has asked for its first event."""
        guest = self.start(files)
        function = Function(guest)
        function.begin("GET", "invocation/next")
        self.assertEqual(guest.hear(), "loaded", guest.log())
        return guest, function

    def running(self, event=None, context=None):
        """One that has one; its request id."""
        guest, function = self.waiting()
        guest.send("context", {"requestId": "r-1", **(context or {})})
        guest.send("event", {} if event is None else event)
        self.assertEqual(function.finish()[0], 200)
        return guest, function

    def check_serves(self, guest, function, request_id="r-2"):
        """All is well: another event is answered."""
        guest.send("context", {"requestId": request_id})
        guest.send("event", {"n": 7})
        self.assertEqual(function.next()[2], b'{"n": 7}')
        self.assertEqual(function.post(f"invocation/{request_id}/response", {"n": 8})[0], 202)
        self.assertEqual(guest.receive(), ("result", {"n": 8}))


class Invocations(NativeTest):
    def test_event_and_response(self):
        guest, function = self.waiting()
        guest.send("context", {"requestId": "r-1"})
        guest.send("event", {"text": "ä"})
        status, headers, event = function.finish()
        self.assertEqual((status, json.loads(event)), (200, {"text": "ä"}))
        self.assertEqual(headers["Lambda-Runtime-Aws-Request-Id"], "r-1")
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(function.post("invocation/r-1/response", {"ß": 1}), (202, {"status": "OK"}))
        self.assertEqual(guest.receive(), ("result", {"ß": 1}))
        self.check_serves(guest, function)

    def test_headers_say_what_the_host_says(self):
        client = {"custom": {"k": "ä\n"}, "env": {}}
        guest, function = self.waiting()
        guest.send("context", {"requestId": "r-1", "deadlineMs": 1700000000123, "invokedFunctionArn": "arn:f",
                               "clientContext": client})
        guest.send("event", 1)
        headers = function.finish()[1]
        self.assertEqual(headers["Lambda-Runtime-Deadline-Ms"], "1700000000123")
        self.assertEqual(headers["Lambda-Runtime-Invoked-Function-Arn"], "arn:f")
        self.assertEqual(json.loads(headers["Lambda-Runtime-Client-Context"]), client)
        self.assertNotIn("Lambda-Runtime-Trace-Id", headers)

    def test_every_value_may_be_absent(self):
        guest, function = self.waiting()
        guest.send("event", 1)
        headers = function.finish()[1]
        self.assertRegex(headers["Lambda-Runtime-Aws-Request-Id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f-]{21}$")
        self.assertNotIn("Lambda-Runtime-Deadline-Ms", headers)
        self.assertNotIn("Lambda-Runtime-Client-Context", headers)

    def test_values_stay_in_their_header(self):
        guest, function = self.waiting()
        guest.send("context", {"requestId": "r", "invokedFunctionArn": "a\r\nX-Evil: 1"})
        guest.send("event", 1)
        headers = function.finish()[1]
        self.assertNotIn("X-Evil", headers)
        self.assertEqual(headers["Lambda-Runtime-Invoked-Function-Arn"], "a  X-Evil: 1")

    def test_events_may_be_sent_ahead(self):
        guest, function = self.waiting()
        for n in range(20):
            guest.send("context", {"requestId": f"r-{n}"})
            guest.send("event", n)
        status, _, event = function.finish()
        for n in range(20):
            self.assertEqual(json.loads(event), n)
            self.assertEqual(function.post(f"invocation/r-{n}/response", n)[0], 202)
            event = function.next()[2] if n < 19 else None
        self.assertEqual([guest.receive() for _ in range(20)], [("result", n) for n in range(20)])

    def test_largest_payloads(self):
        event = json.dumps("x" * (MAX_RESPONSE - 2)).encode()
        guest, function = self.waiting()
        guest.send("context", {"requestId": "r-1"})
        guest.send("event", event)
        self.assertEqual(function.finish()[2], event)
        answer = json.dumps("y" * (MAX_RESPONSE - 2)).encode()
        self.assertEqual(function.post("invocation/r-1/response", answer)[0], 202)
        self.assertEqual(guest.receive_bytes(), ("result", answer))
        self.check_serves(guest, function)

    def test_payload_larger_than_all_buffers_together(self):
        guest, function = self.running()
        status, answer = function.post("invocation/r-1/response", b"x" * 20_000_000)
        self.assertEqual((status, answer["errorType"]), (413, "RequestEntityTooLarge"))
        self.assertEqual(answer["errorMessage"], f"Exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).")
        kind, report = guest.receive()
        self.assertEqual((kind, report["errorType"]), ("error", "Function.ResponseSizeTooLarge"))
        self.assertEqual(report["errorMessage"], "Response payload size (20000000 bytes) exceeded maximum allowed "
                                                 f"payload size ({MAX_RESPONSE} bytes).")
        self.check_serves(guest, function)

    def test_response_need_not_be_json(self):
        guest, function = self.running()
        self.assertEqual(function.post("invocation/r-1/response", b"\0plain\xff")[0], 202)
        self.assertEqual(guest.receive_bytes(), ("result", b"\0plain\xff"))

    def test_empty_response(self):
        guest, function = self.running()
        self.assertEqual(function.post("invocation/r-1/response", b"")[0], 202)
        self.assertEqual(guest.receive_bytes(), ("result", b""))

    def test_each_request_may_have_a_connection_of_its_own(self):
        guest = self.start()
        asking = Function(guest)
        asking.begin("GET", "invocation/next", headers={"Connection": "close"})
        self.assertEqual(guest.hear(), "loaded")
        guest.send("context", {"requestId": "r-1"})
        for n in range(100):
            guest.send("event", n)
            status, headers, event = asking.finish()
            self.assertEqual((headers["Connection"], json.loads(event)), ("close", n))
            answering = Function(guest)
            self.assertEqual(answering.post("invocation/r-1/response", n, {"Connection": "close"})[0], 202)
            self.assertEqual(guest.receive(), ("result", n))
            asking = Function(guest)
            asking.begin("GET", "invocation/next", headers={"Connection": "close"})

    def test_same_event_again_while_it_is_not_answered(self):
        guest, function = self.running({"n": 1})
        other = Function(guest)
        self.assertEqual(other.next()[2], b'{"n": 1}')
        self.assertEqual(other.post("invocation/r-1/response", 2)[0], 202)
        self.assertEqual(guest.receive(), ("result", 2))
        self.check_serves(guest, function)

    def test_event_is_kept_for_who_asks_next_when_the_asker_goes(self):
        guest, function = self.waiting()
        function.connection.close()
        time.sleep(0.1)
        guest.send("context", {"requestId": "r-1"})
        guest.send("event", 1)
        self.assertEqual(Function(guest).next()[0], "r-1")

    def test_query_is_ignored(self):
        guest, function = self.running()
        self.assertEqual(function.post("invocation/r-1/response?x=1", 2)[0], 202)

    def test_host_that_goes_and_comes_back_is_not_missed(self):
        # A socket cannot come back as a virtio port can; that the bootstrap waits, and lightly, can be seen.
        guest, function = self.waiting()
        guest.host.shutdown(socket.SHUT_WR)
        time.sleep(0.5)
        with open(f"/proc/{guest.process.pid}/stat") as file:
            ticks = sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
        self.assertLess(ticks, 30)
        self.assertIsNone(guest.process.poll())


class Bodies(NativeTest):
    def test_chunks(self):
        guest, function = self.running()
        status, _ = function.post("invocation/r-1/response", iter([b'{"a"', b":", b"1}"]))
        self.assertEqual(status, 202)
        self.assertEqual(guest.receive(), ("result", {"a": 1}))
        self.check_serves(guest, function)

    def test_large_body_in_chunks(self):
        guest, function = self.running()
        text = json.dumps("0123456789" * 600_000).encode()
        pieces = (text[at : at + 70_001] for at in range(0, len(text), 70_001))
        status, _ = function.post("invocation/r-1/response", pieces)
        self.assertEqual(status, 202)
        self.assertEqual(guest.receive_bytes(), ("result", text))

    def test_chunks_beyond_the_limit(self):
        guest, function = self.running()
        pieces = (b"x" * 100_000 for _ in range(100))
        status, _ = function.post("invocation/r-1/response", pieces)
        self.assertEqual(status, 413)
        self.assertEqual(guest.receive()[1]["errorType"], "Function.ResponseSizeTooLarge")
        self.check_serves(guest, function)

    def test_byte_by_byte(self):
        guest, _ = self.running()
        raw = guest.connect_raw()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text = (f"\r\nPOST {API}invocation/r-1/response HTTP/1.1\r\nhost: x\r\ntransfer-encoding:CHUNKED\r\n\r\n"
                "3;ext=1\r\n[1,\r\n002\r\n2]\r\n0\r\nTrailer: 1\r\n\r\n")
        for byte in text.encode():
            raw.sendall(bytes([byte]))
        self.assertTrue(raw.recv(100).startswith(b"HTTP/1.1 202 "))
        self.assertEqual(guest.receive(), ("result", [1, 2]))

    def test_requests_sent_ahead_are_answered_in_turn(self):
        guest, _ = self.running()
        raw = guest.connect_raw()
        raw.sendall(f"POST {API}invocation/r-1/response HTTP/1.1\nContent-Length: 1\n\n5GET {NEXT} HTTP/1.1\n\n"
                    f"POST {API}invocation/r-1/response HTTP/1.1\nContent-Length: 1\nConnection: close\n\n6".encode())
        self.assertEqual(guest.receive(), ("result", 5))
        guest.send("event", 1)
        self.assertEqual(guest.receive(), ("result", 6))
        answer = b""
        while piece := raw.recv(1000):
            answer += piece
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", answer),
                         [b"202", b"200", b"202"])

    def test_expect_continue(self):
        guest, _ = self.running()
        raw = guest.connect_raw()
        raw.sendall(f"POST {API}invocation/r-1/response HTTP/1.1\r\n"
                    "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode())
        self.assertEqual(raw.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.sendall(b"42")
        self.assertTrue(raw.recv(100).startswith(b"HTTP/1.1 202 "))
        self.assertEqual(guest.receive(), ("result", 42))

    def test_http_1_0(self):
        guest, _ = self.running()
        raw = guest.connect_raw()
        raw.sendall(f"POST {API}invocation/r-1/response HTTP/1.0\r\nContent-Length: 1\r\n\r\n5".encode())
        answer = b""
        while piece := raw.recv(1000):
            answer += piece
        self.assertIn(b"\r\nConnection: close\r\n", answer)
        self.assertEqual(guest.receive(), ("result", 5))

    def test_streamed_response_is_collected(self):
        guest, function = self.running()
        headers = {"Lambda-Runtime-Function-Response-Mode": "streaming"}
        self.assertEqual(function.post("invocation/r-1/response", iter([b"one ", b"two"]), headers)[0], 202)
        self.assertEqual(guest.receive_bytes(), ("result", b"one two"))

    def stream_with_error(self, trailers):
        guest, _ = self.running()
        raw = guest.connect_raw()
        raw.sendall((f"POST {API}invocation/r-1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
                     "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
                     "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
                     f"3\r\nabc\r\n0\r\n{trailers}\r\n").encode())
        self.assertTrue(raw.recv(100).startswith(b"HTTP/1.1 202 "))
        return guest.receive()

    def test_streamed_response_may_end_in_an_error(self):
        body = base64.b64encode(b'{"errorMessage":"half way","errorType":"Oops"}').decode()
        kind, report = self.stream_with_error(f"lambda-runtime-function-error-type: Other\r\n"
                                              f"Lambda-Runtime-Function-Error-Body: {body}\r\n")
        self.assertEqual((kind, report["errorType"], report["errorMessage"]), ("error", "Oops", "half way"))

    def test_streamed_error_need_not_say_much(self):
        kind, report = self.stream_with_error("Lambda-Runtime-Function-Error-Type: Function.Odd\r\n"
                                              "Lambda-Runtime-Function-Error-Body: ?!\r\n")
        self.assertEqual((kind, report["errorType"], report["errorMessage"]), ("error", "Function.Odd", ""))

    def stream_http(self, body):
        guest, function = self.running()
        headers = {"Lambda-Runtime-Function-Response-Mode": "streaming",
                   "Content-Type": "application/vnd.awslambda.http-integration-response"}
        prelude = b'{"statusCode":201,"headers":{"X":"y"},"cookies":["c"]}'
        self.assertEqual(function.post("invocation/r-1/response", iter([prelude, b"\0" * 8, body]), headers)[0], 202)
        return guest.receive()

    def test_streamed_http_response_is_an_object(self):
        self.assertEqual(self.stream_http("täxt".encode()),
                         ("result", {"statusCode": 201, "headers": {"X": "y"}, "cookies": ["c"], "body": "täxt",
                                     "isBase64Encoded": False}))

    def test_streamed_http_response_with_bytes(self):
        for body in (b"\xff", b"\xff\xfe", b"\xff\xfe\xfd", b"\xff\xfe\xfd\xfc"):
            answer = self.stream_http(body)[1]
            self.assertEqual((base64.b64decode(answer["body"], validate=True), answer["isBase64Encoded"]), (body, True))


class Errors(NativeTest):
    def report(self, body, headers=None):
        guest, function = self.running()
        self.assertEqual(function.post("invocation/r-1/error", body, headers), (202, {"status": "OK"}))
        kind, report = guest.receive()
        self.assertEqual(kind, "error")
        self.assertEqual(set(report), {"errorMessage", "errorType", "requestId", "stackTrace"})
        self.assertEqual(report["requestId"], "r-1")
        self.check_serves(guest, function)
        return report

    def test_error(self):
        report = self.report({"errorMessage": "wanted: ä", "errorType": "Oops", "stackTrace": ["here", "there"]},
                             {"Lambda-Runtime-Function-Error-Type": "Function.Other"})
        self.assertEqual((report["errorMessage"], report["errorType"]), ("wanted: ä", "Oops"))
        self.assertEqual(report["stackTrace"], ["here", "there"])

    def test_type_may_be_in_the_header_alone(self):
        report = self.report({"errorMessage": "m"}, {"Lambda-Runtime-Function-Error-Type": "Function.Oops"})
        self.assertEqual(report["errorType"], "Function.Oops")

    def test_error_without_anything(self):
        report = self.report(b"")
        self.assertEqual((report["errorType"], report["errorMessage"]), ("Function.Unknown", ""))

    def test_body_that_is_no_object_is_the_message(self):
        self.assertEqual(self.report(b"plain \xff text")["errorMessage"], "plain � text")
        self.assertEqual(self.report(b"[1, 2]")["errorMessage"], "[1, 2]")

    def test_members_that_are_not_what_they_should_be(self):
        report = self.report({"errorMessage": {"a": 1}, "errorType": 5, "stackTrace": [1, "a", {"b": []}, None, "c"]})
        self.assertEqual((report["errorMessage"], report["errorType"]), ("", "Function.Unknown"))
        self.assertEqual(report["stackTrace"], ["a", "c"])
        self.assertEqual(self.report({"stackTrace": "text"})["stackTrace"], [])

    def test_report_fits_a_frame(self):
        report = self.report({"errorMessage": "\u20ac" * 200_000, "stackTrace": ["y" * 5000] * 150})
        self.assertEqual(len(report["stackTrace"]), 100)
        self.assertEqual(len(report["stackTrace"][0]), 4096)
        self.assertLess(len(json.dumps(report)), 4_000_000)

    def test_tower_of_brackets(self):
        tower = b"[" * 500_000 + b"]" * 500_000
        self.assertEqual(self.report(b'{"errorType":"T","x":' + tower + b"}")["errorType"], "T")
        self.report(b"[" * 2_000_000)

    def test_largest_error(self):
        self.assertEqual(len(self.report(b"x" * 20_000_000)["errorMessage"]), 256 * 1024)

    def test_id_of_another_request(self):
        guest, function = self.running()
        for path in ("invocation/r-2/response", "invocation/r-2/error", "invocation//response"):
            status, answer = function.post(path, 1)
            self.assertEqual((status, answer["errorType"]), (400, "InvalidRequestID"))
        self.assertTrue(guest.says_nothing())

    def test_second_answer(self):
        guest, function = self.running()
        function.post("invocation/r-1/response", 1)
        for path in ("invocation/r-1/response", "invocation/r-1/error"):
            status, answer = function.post(path, 2)
            self.assertEqual((status, answer["errorType"]), (403, "InvalidStateTransition"))
        self.assertIn("from ResponseSent to InvocationErrorResponse", answer["errorMessage"])
        self.assertEqual(guest.receive(), ("result", 1))
        self.check_serves(guest, function)

    def test_what_is_not_allowed_while_it_runs(self):
        _, function = self.running()
        for method, path in (("POST", "init/error"), ("POST", "restore/error"), ("GET", "restore/next")):
            self.assertEqual(function.ask(method, path)[0], 403)

    def test_answer_before_any_event(self):
        guest = self.start()
        function = Function(guest)
        self.assertEqual(function.post("invocation/r-1/response", 1)[0], 403)
        self.assertTrue(guest.says_nothing())

    def test_second_asker(self):
        guest, function = self.waiting()
        self.assertEqual(Function(guest).ask("GET", "invocation/next")[0], 403)
        guest.send("event", 5)
        self.assertEqual(function.finish()[2], b"5")

    def test_answer_that_ends_before_its_end(self):
        guest, function = self.running()
        raw = guest.connect_raw()
        raw.sendall(f"POST {API}invocation/r-1/response HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc".encode())
        time.sleep(0.1)
        self.assertEqual(function.post("invocation/r-1/response", 1)[0], 403)
        raw.close()
        self.assertEqual(guest.receive()[1]["errorType"], "Runtime.TruncatedResponse")
        self.check_serves(guest, function)

    def test_response_mode_that_nobody_knows(self):
        guest, function = self.running()
        mode = {"Lambda-Runtime-Function-Response-Mode": "Streaming"}
        status, answer = function.post("invocation/r-1/response", 1, mode)
        self.assertEqual((status, answer["errorType"]), (400, "InvalidFunctionResponseMode"))

    def test_unknown_paths_and_methods(self):
        guest, function = self.running()
        for method, path, status in (("GET", "nothing", 404), ("GET", "invocation/", 404),
                                     ("POST", "invocation/next", 405),
                                     ("GET", "invocation/r-1/response", 405), ("DELETE", "init/error", 405),
                                     ("POST", "invocation/r-1/next", 404)):
            self.assertEqual(function.ask(method, path)[0], status, path)
        function.connection.request("GET", "/")
        self.assertEqual(function.finish()[0], 404)
        function.post("invocation/r-1/response", 1)
        self.assertEqual(guest.receive(), ("result", 1))


class Loading(NativeTest):
    def check_fails(self, guest, kind="Runtime.InvalidEntrypoint"):
        got, report = guest.receive()
        self.assertEqual((got, report["errorType"], report["requestId"]), ("init-error", kind, ""))
        self.assertEqual(guest.hear(), "failed")
        for _ in range(2):
            guest.send("context", {"requestId": "r"})
            guest.send("event", {})
            self.assertEqual(guest.receive(), ("error", report))
        return report["errorMessage"]

    def start_with(self, files, mode=0o755):
        guest = Guest(files)
        self.addCleanup(guest.close)
        if "bootstrap" in files:
            (guest.task / "bootstrap").chmod(mode)
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {SEED}")
        return guest

    def test_no_program(self):
        guest = self.start_with({})
        self.assertEqual(self.check_fails(guest), f"Couldn't find valid bootstrap(s): [{guest.task}/bootstrap]")

    def test_folder_in_its_place(self):
        self.check_fails(self.start_with({"bootstrap/x": ""}, 0o755))

    def test_program_that_may_not_be_executed(self):
        message = self.check_fails(self.start_with({"bootstrap": STAND_IN}, 0o644))
        self.assertTrue(message.endswith("/bootstrap: permission denied"), message)

    def test_program_that_is_none(self):
        message = self.check_fails(self.start_with({"bootstrap": "\x7fELF nonsense"}))
        self.assertTrue(message.endswith("/bootstrap: exec format error"), message)

    def test_program_without_its_interpreter(self):
        message = self.check_fails(self.start_with({"bootstrap": "#!/no/such\n"}))
        self.assertTrue(message.endswith("/bootstrap: no such file or directory"), message)

    def test_appfs_that_cannot_be_mounted(self):
        guest = Guest({})
        self.addCleanup(guest.close)
        self.assertEqual(guest.hear(), "ready")
        guest.tell("fail it is not an erofs image")
        self.assertEqual(self.check_fails(guest, "Runtime.InitError"), "it is not an erofs image")

    def test_init_error(self):
        guest = self.start()
        function = Function(guest)
        status, answer = function.post("init/error", {"errorMessage": "no database", "errorType": "Function.NoDb"})
        self.assertEqual((status, answer), (202, {"status": "OK"}))
        # The program ends then, and that is no news.
        guest.end(1)
        self.assertEqual(self.check_fails(guest, "Function.NoDb"), "no database")
        self.assertEqual(function.ask("GET", "invocation/next")[0], 403)
        self.assertEqual(function.post("init/error", {})[0], 403)
        self.assertIsNone(guest.process.poll())

    def test_ends_as_the_program_ends(self):
        for how, status in (("0", 0), ("3", 3), ("kill", -signal.SIGSEGV)):
            guest = self.start()
            guest.end(how)
            self.assertEqual(guest.process.wait(TIMEOUT), status)
            self.assertEqual(guest.hear(), "")

    def test_program_that_ends_while_it_waits_or_runs(self):
        for guest, _ in (self.waiting(), self.running()):
            guest.end("4")
            self.assertEqual(guest.process.wait(TIMEOUT), 4)

    def test_answer_goes_before_the_end(self):
        guest, function = self.running()
        text = json.dumps("x" * 6_000_000).encode()
        guest.process.send_signal(signal.SIGSTOP)
        raw = guest.connect_raw()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        raw.sendall(f"POST {API}invocation/r-1/response HTTP/1.1\r\nContent-Length: 500000\r\n\r\n".encode())
        raw.sendall(text[:500_000])
        guest.end("4")
        time.sleep(0.2)
        raw.close()
        guest.process.send_signal(signal.SIGCONT)
        self.assertEqual(guest.receive_bytes(), ("result", text[:500_000]))
        self.assertEqual(guest.process.wait(TIMEOUT), 4)

    def test_environment_of_a_folder(self):
        guest = self.start()
        known = guest.environment()
        self.assertEqual((guest.task / "folder").read_text().strip(), str(guest.task))
        self.assertIn("to the log\n", guest.log())
        self.assertEqual(known["LAMBDA_TASK_ROOT"], str(guest.task))
        self.assertEqual(known["LD_LIBRARY_PATH"],
                         f"{guest.task}:{guest.task}/lib:{guest.task}/package/usr/lib/x86_64-linux-gnu")
        self.assertEqual(known["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand")
        self.assertEqual(known["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST")
        self.assertRegex(known["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], r"^\d+$")
        self.assertNotIn("AWS_EXECUTION_ENV", known)

    def deployed(self, configuration):
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        return self.start({".snapfaas/function.json": text})

    def test_environment_of_a_deployed_function(self):
        guest = self.deployed({"handler": "any.thing", "functionName": "f", "functionVersion": "7", "memorySize": 256,
                               "region": "eu-west-1", "environment": {"A": "ä=\n", "TZ": "Asia/Tokyo"}})
        known = guest.environment()
        wanted = {"_HANDLER": "any.thing", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", "A": "ä=\n",
                  "TZ": "Asia/Tokyo", "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_VERSION": "7",
                  "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f"}
        self.assertEqual({key: known.get(key) for key in wanted}, wanted)
        self.assertRegex(known["AWS_LAMBDA_LOG_STREAM_NAME"], r"^\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}$")

    def test_configuration_that_cannot_be_used(self):
        for configuration in ("{oops", "[]", {"no": "handler"}, {"handler": 1},
                              {"handler": "h", "environment": {"A": 1}},
                              {"handler": "h", "environment": {"A=B": "c"}},
                              {"handler": "h", "environment": {"A": "b\0c"}}):
            guest = self.deployed(configuration)
            self.check_fails(guest, "Runtime.InitError")
            self.assertIn("[ERROR] Runtime.InitError: ", guest.log())

    def test_function_gets_no_descriptor_of_ours(self):
        guest = self.start()
        targets = [os.readlink(f"/proc/{guest.pid()}/fd/{fd}") for fd in os.listdir(f"/proc/{guest.pid()}/fd")]
        ours = {os.readlink(f"/proc/{guest.process.pid}/fd/{fd}") for fd in (3, 4, 5)}
        self.assertTrue(ours.isdisjoint(targets), targets)


class Checkpoint(NativeTest):
    """The function's snapshot: `load <seed> checkpoint`, the snapshot point, `resume <seed>`."""

    def at_snapshot(self, path="restore/next", files=None):
        guest = self.start(files, checkpoint=True)
        function = Function(guest)
        self.assertEqual(guest.environment()["AWS_LAMBDA_INITIALIZATION_TYPE"], "snap-start")
        function.begin("GET", path)
        self.assertEqual(guest.hear(), "loaded", guest.log())
        return guest, function

    def test_restore_next_is_the_snapshot_point(self):
        guest, function = self.at_snapshot()
        guest.send("context", {"requestId": "r-1"})
        guest.send("event", 7)
        self.assertTrue(guest.says_nothing())
        guest.tell(f"resume {SEED}")
        self.assertEqual(function.finish()[0], 200)
        self.assertEqual(function.next()[2], b"7")
        self.assertEqual(function.post("invocation/r-1/response", 8)[0], 202)
        self.assertEqual(guest.receive(), ("result", 8))
        self.check_serves(guest, function)

    def test_so_is_the_first_next(self):
        guest, function = self.at_snapshot("invocation/next")
        guest.send("event", 7)
        self.assertTrue(guest.says_nothing())
        guest.tell(f"resume {SEED}")
        self.assertEqual(function.finish()[2], b"7")
        self.assertEqual(function.ask("GET", "restore/next")[0], 403)

    def test_restore_next_without_a_snapshot_is_answered_at_once(self):
        guest = self.start()
        function = Function(guest)
        self.assertEqual(function.ask("GET", "restore/next")[0], 200)
        self.assertTrue(guest.says_nothing())
        function.begin("GET", "invocation/next")
        self.assertEqual(guest.hear(), "loaded")
        guest.send("event", 7)
        self.assertEqual(function.finish()[2], b"7")

    def test_restore_error(self):
        guest, function = self.at_snapshot()
        guest.tell(f"resume {SEED}")
        self.assertEqual(function.finish()[0], 200)
        self.assertEqual(function.post("restore/error", {"errorMessage": "gone", "errorType": "Function.Gone"})[0], 202)
        kind, report = guest.receive()
        self.assertEqual((kind, report["errorType"]), ("init-error", "Function.Gone"))
        guest.end(1)
        guest.send("event", 1)
        self.assertEqual(guest.receive(), ("error", report))

    def test_init_error_instead_of_a_snapshot(self):
        guest = self.start(checkpoint=True)
        Function(guest).post("init/error", {"errorMessage": "m", "errorType": "t"})
        self.assertEqual(guest.receive()[0], "init-error")
        self.assertEqual(guest.hear(), "failed")

    def test_each_microvm_has_a_log_stream_of_its_own(self):
        configuration = '{"handler": "h", "environment": {"Z": "z"}}'
        guest, function = self.at_snapshot(files={".snapfaas/function.json": configuration})
        before = guest.environment()
        guest.tell(f"resume {SEED}")
        function.finish()
        after = guest.environment(current=True)
        name = "AWS_LAMBDA_LOG_STREAM_NAME"
        self.assertNotEqual(before[name], after[name])
        self.assertRegex(after[name], r"^\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}$")
        self.assertEqual({**before, name: ""}, {**after, name: ""})

    def test_agent_that_says_something_else_than_resume(self):
        guest, _ = self.at_snapshot()
        guest.tell(f"load {SEED}")
        self.assertEqual(guest.process.wait(TIMEOUT), 1)
        self.assertIn("the agent said 'load", guest.log())


class HostileFunction(NativeTest):
    """Whatever it sends: it is told so and loses that connection, and another one goes on working."""

    def check_refused(self, data, status):
        guest, function = self.running()
        raw = guest.connect_raw()
        try:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        while piece := raw.recv(10_000):
            answer += piece
        self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (data[:80], answer))
        function.post("invocation/r-1/response", 1)
        self.assertEqual(guest.receive(), ("result", 1))
        self.check_serves(guest, function)

    def test_nonsense(self):
        self.check_refused(b"\0\1\2\3\n\n", 400)
        self.check_refused(b"nonsense\r\n\r\n", 400)
        self.check_refused(b"GET  HTTP/1.1\r\n\r\n", 400)
        self.check_refused(b"GET nothing HTTP/1.1\r\n\r\n", 400)
        self.check_refused(b"GET / x HTTP/1.1\r\n\r\n", 400)
        self.check_refused(b"G\xffT / HTTP/1.1\r\n\r\n", 400)
        self.check_refused(b"GET / FTP/1.1\r\n\r\n", 400)
        self.check_refused(b"GET / HTTP/2.0\r\n\r\n", 505)

    def test_fields(self):
        for field in (b"no colon", b" folded: x", b"na me: x", b": x", b"name : x", b"a: \0", b"a: x\ry"):
            self.check_refused(b"GET / HTTP/1.1\r\n" + field + b"\r\n\r\n", 400)

    def test_head_without_end(self):
        self.check_refused(b"GET /" + b"x" * 100_000, 431)
        self.check_refused(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, 431)

    def test_lengths(self):
        head = f"POST {API}invocation/r-1/response HTTP/1.1\r\n".encode()
        for fields in (b"Content-Length: -1", b"Content-Length: x", b"Content-Length: 1x", b"Content-Length: 0x10",
                       b"Content-Length: 99999999999999999999", b"Content-Length: 1\r\nContent-Length: 2",
                       b"Content-Length: 1\r\nTransfer-Encoding: chunked", b"Content-Length: 1, 1"):
            self.check_refused(head + fields + b"\r\n\r\nx", 400)
        self.check_refused(head + b"Transfer-Encoding: gzip\r\n\r\nx", 501)
        self.check_refused(head + b"Transfer-Encoding: gzip, chunked\r\n\r\nx", 501)

    def refused_chunks(self, chunks, status):
        guest, function = self.running()
        raw = guest.connect_raw()
        head = f"POST {API}invocation/r-1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode() + chunks)
        self.assertTrue(raw.recv(10_000).startswith(b"HTTP/1.1 %d " % status), chunks[:80])
        # The answer was begun, and is not to be had.
        self.assertEqual(guest.receive()[1]["errorType"], "Runtime.TruncatedResponse")
        self.check_serves(guest, function)

    def test_chunks(self):
        for chunks in (b"x\r\n", b"\r\n", b"-1\r\n", b"1\r\nxy\r\n", b"ffffffffffffffffff\r\n", b"1" * 1000):
            self.refused_chunks(chunks, 400)
        self.refused_chunks(b"0\r\nno colon\r\n\r\n", 400)
        self.refused_chunks(b"0\r\n" + b"a: b\r\n" * 20_000, 431)

    def test_body_without_a_place(self):
        guest, function = self.running()
        status, _, _ = function.ask("POST", "nowhere", b"x" * 3_000_000)
        self.assertEqual(status, 404)
        function.post("invocation/r-1/response", 1)
        self.assertEqual(guest.receive(), ("result", 1))

    def test_more_connections_than_there_are_places(self):
        guest, function = self.running()
        idle = [guest.connect_raw() for _ in range(50)]
        self.assertEqual(function.post("invocation/r-1/response", 1)[0], 202)
        self.assertEqual(guest.receive(), ("result", 1))
        for connection in idle:
            connection.close()
        self.check_serves(guest, Function(guest))

    def test_connections_that_were_refused_make_room(self):
        guest, function = self.running()
        for _ in range(50):
            raw = guest.connect_raw()
            raw.sendall(b"nonsense\r\n\r\n")
            self.assertTrue(raw.recv(100).startswith(b"HTTP/1.1 400 "))
        function.post("invocation/r-1/response", 1)
        self.assertEqual(guest.receive(), ("result", 1))

    def test_client_that_never_reads(self):
        guest, function = self.waiting()
        function.connection.close()
        time.sleep(0.1)
        raw = guest.connect_raw()
        raw.sendall(f"GET {NEXT} HTTP/1.1\r\n\r\n".encode())
        time.sleep(0.1)
        guest.send("context", {"requestId": "r-1"})
        guest.send("event", b'"' + b"x" * 6_000_000 + b'"')
        other = Function(guest)
        time.sleep(0.1)
        self.assertEqual(other.post("invocation/r-1/response", 1)[0], 202)
        self.assertEqual(guest.receive(), ("result", 1))
        raw.close()
        self.check_serves(guest, other)

    def test_any_bytes(self):
        guest, function = self.running()
        source = random.Random(1)
        words = [b"GET ", b"POST ", NEXT.encode(), API.encode(), b"invocation/r-1/error", b" HTTP/1.1", b"\r\n", b"\n",
                 b"Content-Length: ", b"Transfer-Encoding: chunked", b"5", b"ffff", b"\r\n\r\n", b"\0", b": ",
                 b"Expect: 100-continue"]
        for _ in range(300):
            raw = socket.create_connection(guest.address(), TIMEOUT)
            raw.sendall(b"".join(source.choice(words) for _ in range(source.randrange(40))))
            raw.close()
        time.sleep(0.1)
        self.assertIsNone(guest.process.poll(), guest.log())
        self.assertIn(function.post("invocation/r-1/response", 1)[0], (202, 403))


class Programs(NativeTest):
    """Real functions: the examples, and the fixtures of the suite that all runtimes share."""

    built = {}

    @classmethod
    def tearDownClass(cls):
        for folder in cls.built.values():
            shutil.rmtree(folder)

    def build(self, make):
        """The folder of the fixture's function, compiled once."""
        key = str(make)
        if key not in self.built:
            self.built[key] = tempfile.mkdtemp(prefix="bootstrap-test-")
            subprocess.run([*make, self.built[key]], check=True, stdout=subprocess.DEVNULL)
        return pathlib.Path(self.built[key])

    def started(self, make, folder=None, checkpoint=False):
        if folder:
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        else:
            folder = self.build(make)
        guest = Guest({".snapfaas/function.json": json.dumps({"handler": "bootstrap", "functionName": "f"})})
        self.addCleanup(guest.close)
        shutil.copy2(folder / "bootstrap", guest.task / "bootstrap")
        self.assertEqual(guest.hear(), "ready")
        guest.tell(f"load {SEED} checkpoint" if checkpoint else f"load {SEED}")
        return guest

    def loaded(self, make, folder=None, checkpoint=False):
        guest = self.started(make, folder, checkpoint)
        self.assertEqual(guest.hear(), "loaded", guest.log())
        if checkpoint:
            guest.tell(f"resume {SEED}")
        return guest

    def ask(self, guest, event):
        guest.send("context", {"requestId": "r-1", "deadlineMs": 10**15, "invokedFunctionArn": "arn:f",
                               "clientContext": {"custom": {"k": 1}}})
        guest.send("event", event)
        return guest.receive()

    def check_example(self, name):
        folder = REPOSITORY / "examples" / name
        guest = self.loaded(["make", "-s", "-C", folder], folder / "function", checkpoint=True)
        wanted = json.loads((folder / "answer.json").read_text())
        for _ in range(2):
            kind, answer = self.ask(guest, (folder / "event.json").read_bytes().rstrip(b"\n"))
            self.assertEqual((kind, {key: answer.get(key) for key in wanted}), ("result", wanted))
        return guest, answer

    def test_hello_cpp(self):
        guest, _ = self.check_example("hello-cpp")
        self.assertEqual(self.ask(guest, {"name": "x", "language": "?"})[1]["errorType"], "UnknownLanguage")
        self.assertEqual(self.ask(guest, [])[1]["errorType"], "BadEvent")

    def test_compression_c(self):
        guest, answer = self.check_example("compression-c")
        event = (REPOSITORY / "examples/compression-c/event.json").read_bytes().rstrip(b"\n")
        self.assertEqual(zlib.decompress(base64.b64decode(answer["zlib"])), event)
        event = b'"' + os.urandom(3_000_000).hex().encode()[:4_000_000] + b'"'
        answer = self.ask(guest, event)[1]
        self.assertEqual(zlib.decompress(base64.b64decode(answer["zlib"])), event)

    def fixture(self, name):
        return [REPOSITORY / "tests/contract/native" / name / "build.sh"]

    def test_main_fixture(self):
        guest = self.loaded(self.fixture("main"))
        self.assertEqual(self.ask(guest, {"case": "echo", "value": ["ä", None]}), ("result", {"echo": ["ä", None]}))
        kind, report = self.ask(guest, {"case": "raise"})
        got = (kind, report["errorType"], report["errorMessage"])
        self.assertEqual(got, ("error", "std::runtime_error", "wanted: ä"))
        self.assertEqual(self.ask(guest, {"case": "log", "lines": 2}), ("result", None))
        self.assertEqual(set(guest.log().splitlines()), {"out 1", "out 2", "err 1", "err 2"})
        self.assertEqual(self.ask(guest, {"case": "large", "padding": "ä" * 1000, "bytes": 5}),
                         ("result", {"length": 1000, "text": "xxxxx"}))
        self.assertEqual(self.ask(guest, {"case": "large", "bytes": 7_000_000})[1]["errorType"],
                         "Function.ResponseSizeTooLarge")
        context = self.ask(guest, {"case": "context"})[1]
        self.assertEqual((context["requestId"], context["arn"], context["custom"]), ("r-1", "arn:f", {"k": 1}))
        self.assertEqual(self.ask(guest, {"case": "environment"})[1]["cwd"], str(guest.task))
        self.assertEqual(self.ask(guest, {"case": "sleep", "seconds": 0.01}), ("result", {"slept": 0.01}))
        self.assertEqual(self.ask(guest, {"case": "count"}), ("result", {"count": 9}))
        guest.send("event", {"case": "exit"})
        self.assertEqual(guest.process.wait(TIMEOUT), 3)
        guest = self.loaded(self.fixture("main"))
        guest.send("event", {"case": "signal"})
        self.assertEqual(guest.process.wait(TIMEOUT), -signal.SIGSEGV)

    def test_init_fixture(self):
        guest = self.started(self.fixture("init"))
        kind, report = guest.receive()
        got = (kind, report["errorType"], report["errorMessage"])
        self.assertEqual(got, ("init-error", "std::runtime_error", "wanted: ä"))
        self.assertEqual(guest.hear(), "failed")

    def test_hooks_fixture(self):
        guest = self.loaded(self.fixture("hooks"), checkpoint=True)
        self.assertEqual(self.ask(guest, {})[1]["hooks"], ["before", "after"])
        guest = self.loaded(self.fixture("hooks"))
        self.assertEqual(self.ask(guest, {})[1]["hooks"], [])


class HostileHost(NativeTest):
    def check_ends(self, data):
        guest, _ = self.waiting()
        guest.host.sendall(data)
        self.assertEqual(guest.process.wait(TIMEOUT), 1)
        self.assertIn("the host sent", guest.log())

    def test_header_without_length(self):
        self.check_ends(b"event\n")

    def test_header_without_end(self):
        self.check_ends(b"e" * 5000)

    def test_length_that_is_no_number(self):
        self.check_ends(b"event x\n")

    def test_negative_length(self):
        self.check_ends(b"event -1\n")

    def test_length_above_the_limit(self):
        self.check_ends(b"event 6357093\n")

    def test_unknown_kind(self):
        self.check_ends(b"nonsense 0\n")

    def test_context_that_is_not_json(self):
        self.check_ends(b"context 1\n{")


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        BOOTSTRAP = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
