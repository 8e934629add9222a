#!/usr/bin/python3
"""What each language owes its functions (docs/runtimes.md), the same for each runtime: boto3 against a real node.

Usage: contract_test.py SNAPFAAS STATE_DIR JUNIT_XML [RUNTIME...]

Without names: each runtime that is built and has fixtures. A runtime's are tests/contract/<name>/: folders with one
function each, and contract.json, which says what differs from language to language:

  handler               of main, and of the other folders where nothing else is said
  hooks_handler, missing_handler    of hooks; of nothing
  raise_type, syntax_type, missing_handler_type, init_type    error types
  unserialisable_type   absent: the language can answer anything
  stdout_is_answer      true: what goes to standard output is no log
  errors_in_log         false: nothing of an error is in the log but what the function writes itself
  without_cases         names of cases that the language has not
  never                 texts that the language cannot hold, e.g. "\\u0000"
  empty_object_is_list  true: the language has one value for both

A folder with a build.sh is a function that has to be made first: `sh build.sh FOLDER` makes it.

Starts one node for all of them. SNAPFAAS_CONTRACT_SECONDS: no runtime is begun after so many (none: all are). Exit
code 1 when a case failed.
"""

import base64
import concurrent.futures
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
import xml.etree.ElementTree as tree
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

HERE = pathlib.Path(__file__).resolve().parent
RECIPES = HERE.parent.parent / "guest" / "bootstrap"
ROLE = "arn:aws:iam::000000000000:role/any"
VALUE = "v\u00e4lue = 1 \u2713"
READY_SECONDS = 300
RESETS = 50
# For 6 MB in a slow language on an emulated processor; and for a request that is to pass its limit.
TIMEOUT, BRIEF_TIMEOUT = 60, 5
FUNCTIONS = ("main", "brief", "broken", "nothing", "init", "plain", "hooks")
MAX_PAYLOAD = 6 * 1024 * 1024 + 100
LARGE = 6_000_000
TEXT = {"\u00e4": "\u20ac \U0001f600 \u2028 \" \\ \u0000 \t", "list": [1, -2.5, True, False, None, [], {}], "": "\n"}


class Failed(Exception):
    pass


def expect(condition, *particulars):
    if not condition:
        raise Failed(" ".join(str(particular)[:2000] for particular in particulars))


def expect_equal(found, wanted, what=""):
    expect(found == wanted, f"{what}: got {found!r}, not {wanted!r}")


def zip_of(folder):
    if (folder / "build.sh").exists():
        with tempfile.TemporaryDirectory() as made:
            done = subprocess.run(["sh", folder / "build.sh", made], capture_output=True, text=True)
            expect(done.returncode == 0, f"{folder}/build.sh failed:", done.stdout, done.stderr)
            return zip_of(pathlib.Path(made))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                # Modes are kept: a program must be one.
                archive.write(path, path.relative_to(folder))
    return data.getvalue()


class Node:
    """A node from `up` to `down`."""

    def __init__(self, snapfaas, state):
        self.snapfaas, self.state = snapfaas, state
        state.mkdir(parents=True, exist_ok=True)
        url = json.loads(self.run("up", "--state", str(state), "--port", "0", "--json"))["url"]
        self.client = boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(read_timeout=300, retries={"total_max_attempts": 1}, max_pool_connections=20),
        )

    def run(self, *arguments):
        done = subprocess.run([self.snapfaas, *arguments], capture_output=True, text=True)
        expect(done.returncode == 0, f"snapfaas {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def down(self):
        self.run("down", "--state", str(self.state))


class Answer:
    def __init__(self, response):
        self.error = response.get("FunctionError")
        self.payload = json.loads(response["Payload"].read())
        self.log = base64.b64decode(response.get("LogResult", "")).decode("utf-8", "replace")
        self.request_id = response["ResponseMetadata"]["RequestId"]

    def value(self):
        expect(self.error is None, "the function failed:", self.payload, self.log)
        return self.payload

    def report(self, error_type=None):
        expect(self.error == "Unhandled", "the function did not fail:", self.payload, self.log)
        if error_type:
            expect_equal(self.payload.get("errorType"), error_type, f"error type of {self.payload}")
        return self.payload


def with_lists_for_empty_objects(value):
    if isinstance(value, dict):
        return {key: with_lists_for_empty_objects(each) for key, each in value.items()} or []
    return [with_lists_for_empty_objects(each) for each in value] if isinstance(value, list) else value


class Suite:
    """The cases of one runtime. `main` has no snapshot of its own, `hooks` has; `brief` is `main` with less time."""

    def __init__(self, client, runtime):
        self.client, self.runtime = client, runtime
        self.folder = HERE / runtime
        self.contract = json.loads((self.folder / "contract.json").read_text())
        recipe = json.loads((RECIPES / runtime / "manifest.json").read_text())
        self.memory = max(128, recipe.get("min_memory_mib", 128))

    # ---- functions

    def name(self, function):
        return f"{self.runtime.replace('.', '-')}-{function}"

    def members(self, function, folder, handler):
        return {
            "FunctionName": self.name(function),
            "Runtime": self.runtime,
            "Role": ROLE,
            "Handler": handler,
            "Code": {"ZipFile": zip_of(self.folder / folder)},
            "MemorySize": self.memory,
            "Timeout": BRIEF_TIMEOUT if function == "brief" else TIMEOUT,
            "Environment": {"Variables": {"CONTRACT_VALUE": VALUE}},
        }

    def create(self, *what):
        self.client.create_function(**self.members(*what))

    def create_with_resets(self, *what, snap_start):
        """With a member that boto3 does not know."""
        members = self.members(*what)
        members["Code"]["ZipFile"] = base64.b64encode(members["Code"]["ZipFile"]).decode()
        members |= {"SnapFaaS": {"Isolation": "Reset"}, "SnapStart": {"ApplyOn": snap_start}}
        url = self.client.meta.endpoint_url + "/2015-03-31/functions"
        request = urllib.request.Request(url, json.dumps(members).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request).read()

    def settle(self, function, wants_snapshot=False):
        deadline = time.time() + READY_SECONDS
        while True:
            known = self.client.get_function_configuration(FunctionName=self.name(function))
            expect(known["State"] != "Failed", function, known.get("StateReason"))
            waits = known["State"] == "Pending"
            if not waits and (not wants_snapshot or known["SnapStart"]["OptimizationStatus"] == "On"):
                return
            expect(time.time() < deadline, f"{function} is not ready after {READY_SECONDS} s:", known)
            time.sleep(0.2)

    def deploy(self):
        handler = self.contract["handler"]
        hooks = self.contract.get("hooks_handler", handler)
        self.create("main", "main", handler)
        self.create("brief", "main", handler)
        self.create("broken", "broken", handler)
        self.create("nothing", "nothing", self.contract.get("missing_handler", handler))
        self.create("init", "init", handler)
        self.create_with_resets("hooks", "hooks", hooks, snap_start="PublishedVersions")
        self.create_with_resets("plain", "hooks", hooks, snap_start="None")
        for function in FUNCTIONS:
            self.settle(function, wants_snapshot=function == "hooks")

    def remove(self):
        for function in FUNCTIONS:
            try:
                self.client.delete_function(FunctionName=self.name(function))
            except ClientError:
                pass

    def invoke(self, function, event, **more):
        payload = json.dumps(event, ensure_ascii=False).encode()
        return Answer(self.client.invoke(FunctionName=self.name(function), Payload=payload, LogType="Tail", **more))

    def main(self, case, **event):
        return self.invoke("main", {"case": case, **event})

    # ---- cases, in this order

    def expect_echo(self, value):
        wanted = with_lists_for_empty_objects(value) if self.contract.get("empty_object_is_list") else value
        expect_equal(self.main("echo", value=value).value(), {"echo": wanted}, "echo")

    def success(self):
        for value in (1, "text", None, [], {"a": [{}]}):
            self.expect_echo(value)

    def unicode(self):
        value = dict(TEXT)
        # Those that cannot hold them say so.
        for text in self.contract.get("never", []):
            value = json.loads(json.dumps(value).replace(json.dumps(text)[1:-1], ""))
        self.expect_echo(value)

    def exception(self):
        answer = self.main("raise")
        report = answer.report(self.contract["raise_type"])
        expect_equal(report["errorMessage"], self.contract.get("raise_message", "wanted: \u00e4"), "message")
        expect_equal(report.get("requestId", answer.request_id), answer.request_id, "request id")
        trace = report.get("stackTrace", [])
        expect(isinstance(trace, list), "stack trace:", trace)
        expect("/usr/lib/snapfaas" not in json.dumps(trace), "the bootstrap's own frames are in", trace)
        if self.contract.get("errors_in_log", True):
            expect(self.contract["raise_type"] in answer.log, "the error is not in the log:", answer.log)
        self.main("echo", value=1).value()

    def log_lines(self):
        answer = self.main("log", lines=3)
        answer.value()
        lines = answer.log.splitlines()
        for stream in ["err"] if self.contract.get("stdout_is_answer") else ["out", "err"]:
            for number in (1, 2, 3):
                expect(any(f"{stream} {number}" in line for line in lines), f"no '{stream} {number}' in", answer.log)
        expect(lines[0].startswith("START RequestId: " + answer.request_id), answer.log)
        expect(any(line.startswith("REPORT RequestId: " + answer.request_id) for line in lines), answer.log)

    def large_payloads(self):
        value = self.main("large", padding="\u00e4" + "p" * (LARGE - 1), bytes=10).value()
        expect_equal(value, {"length": LARGE, "text": "x" * 10}, "large request")
        value = self.main("large", padding="", bytes=LARGE).value()
        expect(value["length"] == 0 and value["text"] == "x" * LARGE, "large response")

    def too_large_payloads(self):
        report = self.main("large", padding="", bytes=MAX_PAYLOAD).report("Function.ResponseSizeTooLarge")
        expect("exceeded maximum allowed payload size" in report["errorMessage"], report)
        try:
            self.main("large", padding="p" * MAX_PAYLOAD, bytes=1)
        except ClientError as error:
            expect_equal(error.response["Error"]["Code"], "RequestTooLargeException", "too large a request")
        else:
            raise Failed("too large a request was taken")
        self.main("echo", value=1).value()

    def context(self):
        custom = {"k": "v\u00e4"}
        client_context = base64.b64encode(json.dumps({"custom": custom}).encode()).decode()
        answer = self.invoke("main", {"case": "context"}, ClientContext=client_context)
        value = answer.value()
        expect_equal(value["requestId"], answer.request_id, "request id")
        expect_equal(value["functionName"], self.name("main"), "name")
        expect_equal(value["functionVersion"], "$LATEST", "version")
        expect_equal(int(value["memory"]), self.memory, "memory")
        expect(value["arn"].endswith(":function:" + self.name("main")), "ARN:", value["arn"])
        # The guest's clock may be a little behind the host's.
        expect(0 < float(value["remaining"]) <= TIMEOUT * 1000 + 1000, "time left:", value["remaining"])
        expect("[$LATEST]" in value["logStream"], "log stream:", value["logStream"])
        expect_equal(value["custom"], custom, "client context")

    def environment(self):
        wanted = {"handler": self.contract["handler"], "region": "us-east-1", "value": VALUE, "cwd": "/var/task",
                  "root": "/var/task"}
        expect_equal(self.main("environment").value(), wanted, "environment")

    def unserialisable(self):
        wanted = self.contract.get("unserialisable_type", self.contract.get("marshal_type"))
        if not wanted:
            return "the language can answer anything"
        self.main("unserialisable").report(wanted)
        self.main("echo", value=1).value()

    def same_microvm(self):
        """Memory and /tmp stay from request to request."""
        first = self.main("count").value()["count"]
        expect_equal(self.main("count").value()["count"], first + 1, "count")
        bytes_before = self.main("tmp").value()["bytes"]
        expect_equal(self.main("tmp").value()["bytes"], bytes_before + 1, "bytes in /tmp")

    def expect_new_microvm(self, function="main"):
        expect_equal(self.invoke(function, {"case": "count"}).value()["count"], 1, "count in a new microVM")
        expect_equal(self.invoke(function, {"case": "tmp"}).value()["bytes"], 1, "bytes in /tmp of a new microVM")

    def timeout_ends_it(self):
        began = time.time()
        report = self.invoke("brief", {"case": "sleep", "seconds": 100}).report()
        expect(f"Task timed out after {BRIEF_TIMEOUT}.00 seconds" in report["errorMessage"], report)
        expect(time.time() - began < 60, "it took", time.time() - began, "s")
        self.expect_new_microvm("brief")

    def short_sleep(self):
        expect_equal(self.main("sleep", seconds=1).value(), {"slept": 1}, "sleep")

    def out_of_memory(self):
        self.main("memory").report()
        self.main("echo", value=1).value()

    def exit(self):
        report = self.main("exit").report("Runtime.ExitError")
        expect("exit status 3" in report["errorMessage"], report)
        self.expect_new_microvm()

    def signal(self):
        report = self.main("signal").report("Runtime.ExitError")
        expect("signal: " in report["errorMessage"], report)
        self.expect_new_microvm()

    def fails_to_load(self, function, error_type):
        for _ in range(2):
            report = self.invoke(function, {}).report(error_type)
            expect(report.get("errorMessage"), "no message in", report)

    def syntax_error(self):
        self.fails_to_load("broken", self.contract["syntax_type"])

    def missing_handler(self):
        self.fails_to_load("nothing", self.contract["missing_handler_type"])

    def init_failure(self):
        self.fails_to_load("init", self.contract["init_type"])

    def hooks(self):
        expect_equal(self.invoke("hooks", {}).value()["hooks"], ["before", "after"], "hooks around the snapshot")
        expect_equal(self.invoke("plain", {}).value()["hooks"], [], "hooks without a snapshot")

    def distinct(self, function, times, at_a_time):
        """Every request has a microVM that was just restored, or taken back to its snapshot."""
        with concurrent.futures.ThreadPoolExecutor(at_a_time) as pool:
            values = [answer.value() for answer in pool.map(lambda _: self.invoke(function, {}), range(times))]
        for member in ("random", "uuid", "boot"):
            found = [value[member] for value in values]
            expect(len(set(map(str, found))) == times, f"values of {member} are the same:", sorted(map(str, found)))
        return values

    def random_after_own_snapshot(self):
        values = self.distinct("hooks", RESETS, 4)
        expect(all(value["hooks"] == ["before", "after"] for value in values), "hooks:", values)

    def random_after_base_snapshot(self):
        self.distinct("plain", 10, 2)

    CASES = [
        success, unicode, exception, log_lines, context, environment, unserialisable, same_microvm, short_sleep,
        large_payloads, too_large_payloads, exit, signal, out_of_memory, timeout_ends_it, syntax_error,
        missing_handler, init_failure, hooks, random_after_own_snapshot, random_after_base_snapshot,
    ]


class Results:
    def __init__(self):
        self.suite = tree.Element("testsuite", name="contract")
        self.failed = 0

    def run(self, name, case):
        print(f"[ RUN      ] {name}", flush=True)
        began = time.time()
        element = tree.SubElement(self.suite, "testcase", name=name)
        try:
            reason = case()
        except Exception as error:
            text = str(error) if isinstance(error, Failed) else traceback.format_exc()
            tree.SubElement(element, "failure").text = text
            print(f"{text}\n[   FAILED ] {name}", flush=True)
            self.failed += 1
            return False
        element.set("time", f"{time.time() - began:.3f}")
        if reason:
            tree.SubElement(element, "skipped").text = reason
            print(f"[  SKIPPED ] {name}: {reason}", flush=True)
        else:
            print(f"[       OK ] {name} ({time.time() - began:.1f} s)", flush=True)
        return True

    def skip(self, name, reason):
        self.run(name, lambda: reason)


def run_runtime(node, runtime, results):
    suite = Suite(node.client, runtime)
    try:
        if results.run(f"{runtime}.deploy", suite.deploy):
            for case in Suite.CASES:
                if case.__name__ not in suite.contract.get("without_cases", []):
                    results.run(f"{runtime}.{case.__name__}", lambda: case(suite))
    finally:
        suite.remove()


def main():
    snapfaas, state, junit, *asked = sys.argv[1:]
    state = pathlib.Path(state).resolve()
    results = Results()
    listed = json.loads(subprocess.run([snapfaas, "runtime", "ls", "--json"], check=True, capture_output=True).stdout)
    built = [runtime["name"] for runtime in listed]
    have_fixtures = sorted(path.parent.name for path in HERE.glob("*/contract.json"))
    chosen = []
    for runtime in asked or have_fixtures:
        if runtime not in have_fixtures:
            results.run(runtime, lambda: expect(False, f"there are no fixtures of {runtime} in {HERE}"))
        elif runtime not in built:
            results.skip(runtime, f"it is not built: snapfaas runtime build {runtime}")
        else:
            chosen.append(runtime)
    budget = float(os.environ.get("SNAPFAAS_CONTRACT_SECONDS") or "inf")
    began = time.time()
    if chosen:
        shutil.rmtree(state, ignore_errors=True)
        node = Node(snapfaas, state)
        try:
            for runtime in chosen:
                if time.time() - began > budget:
                    results.skip(runtime, f"SNAPFAAS_CONTRACT_SECONDS={budget:.0f} are over")
                    continue
                at = time.time()
                run_runtime(node, runtime, results)
                print(f"{runtime}: {time.time() - at:.0f} s", flush=True)
        finally:
            node.down()
    tree.ElementTree(results.suite).write(junit)
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
