#!/usr/bin/python3
"""Real clients against a real node: boto3, awscli, curl and snapfaas itself, each unmodified.

Usage: run.py SNAPFAAS STATE_DIR JUNIT_XML

Starts a node with `snapfaas up` in a state folder of its own, runs each case, stops it, and writes the results. Exit code
1 when a case failed.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as tree

HERE = pathlib.Path(__file__).resolve().parent
FUNCTION = """
import json

def handler(event, context):
    if "requestContext" in event:
        return {"statusCode": 201, "headers": {"X-Seen": event["rawPath"]}, "body": json.dumps(event["body"])}
    print("seen", json.dumps(event))
    return {"seen": event, "id": context.aws_request_id}
"""
KEY = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


class Node:
    """A node from `up` to `down`."""

    def __init__(self, snapfaas, state, config=""):
        self.snapfaas, self.state = snapfaas, pathlib.Path(state)
        self.state.mkdir(parents=True, exist_ok=True)
        file = self.state / "config.toml"
        file.write_text(config)
        up = self.run("up", "--state", str(self.state), "--config", str(file), "--port", "0", "--json")
        self.url = json.loads(up.stdout)["url"]

    def run(self, *arguments, code=0, env=None, text=None):
        environment = dict(os.environ, **(env or {}))
        done = subprocess.run([self.snapfaas, *arguments], capture_output=True, text=True, env=environment, input=text)
        assert done.returncode == code, f"snapfaas {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}"
        return done

    def client(self, *arguments, **options):
        return self.run(*arguments, "--endpoint", self.url, **options)

    def down(self):
        self.run("down", "--state", str(self.state))


def check(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def function_folder():
    folder = tempfile.TemporaryDirectory()
    pathlib.Path(folder.name, "app.py").write_text(FUNCTION)
    return folder


def boto3(node):
    check(["/usr/bin/python3", HERE / "boto3_lifecycle.py", node.url])


def awscli(node):
    check(["bash", HERE / "awscli_lifecycle.sh", node.url])


def snapfaas(node):
    with function_folder() as folder:
        node.client("deploy", "cli", folder, "--runtime", "python3", "--timeout", "10")
        answer = json.loads(node.client("invoke", "cli", "-d", '{"a": 1}').stdout)
        assert answer["seen"] == {"a": 1}, answer
        timings = node.client("invoke", "cli", "-d", "{}", "--timings").stderr
        assert "idle" in timings or "restored" in timings, timings
        node.client("invoke", "cli", "-d", "-", text='{"b": 2}')
        node.client("invoke", "cli", "-d", '{"c": 3}', "--async")
        deadline = time.time() + 30
        while 'seen {"c": 3}' not in (log := node.client("logs", "cli").stdout):
            assert time.time() < deadline, log
            time.sleep(0.2)
        listed = json.loads(node.client("ls", "--json").stdout)
        assert "cli" in json.dumps(listed), listed
        assert "cli" in node.client("ps").stdout
        node.client("snapshots")
        node.client("deploy", "cli", folder, "--memory", "256")
        node.client("rm", "cli")
        refused = node.client("invoke", "cli", code=1).stderr
        assert "Function not found" in refused, refused


def function_url(node):
    with function_folder() as folder:
        node.client("deploy", "urls", folder, "--runtime", "python3", "--timeout", "10")
    path = f"{node.url}/2021-10-31/functions/urls/url"
    made = json.loads(check(["curl", "-sf", path, "-d", '{"AuthType": "NONE"}']))
    host = made["FunctionUrl"].split("/")[2].split(":")[0]
    port = node.url.rsplit(":", 1)[1]
    answer = check(["curl", "-si", "--resolve", f"{host}:{port}:127.0.0.1", f"http://{host}:{port}/some/path?q=1",
                    "-H", "Content-Type: text/plain", "-d", "hello"])
    assert "201" in answer.splitlines()[0], answer
    assert "x-seen: /some/path" in answer.lower(), answer
    assert answer.rstrip().endswith('"hello"'), answer
    node.client("rm", "urls")


def signatures(snapfaas_program, state):
    config = '[gateway]\naccess_key_id = "{AWS_ACCESS_KEY_ID}"\nsecret_access_key = "{AWS_SECRET_ACCESS_KEY}"\n'
    node = Node(snapfaas_program, state, config.format(**KEY))
    try:
        listing = f"""
import boto3
client = boto3.client("lambda", endpoint_url="{node.url}", region_name="us-east-1")
print(client.list_functions()["Functions"])
"""
        script = ["/usr/bin/python3", "-c", listing]
        assert check(script, env=dict(os.environ, **KEY)).strip() == "[]"
        wrong = subprocess.run(script, capture_output=True, text=True,
                               env={**os.environ, **KEY, "AWS_SECRET_ACCESS_KEY": "wrong"})
        assert "InvalidSignatureException" in wrong.stderr, wrong.stderr
        unsigned = check(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"{node.url}/2015-03-31/functions"])
        assert unsigned == "403", unsigned
        node.client("ls", env=KEY)
        node.client("ls", code=1)
    finally:
        node.down()


def remote_address(snapfaas_program, state):
    """Without credentials nobody else's machine may reach the node."""
    done = subprocess.run([snapfaas_program, "up", "--state", state, "--address", "0.0.0.0", "--port", "0"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "access_key_id" in done.stderr, done.stderr


def run_case(suite, name, case, *arguments):
    print(f"[ RUN      ] {name}", flush=True)
    start = time.time()
    element = tree.SubElement(suite, "testcase", name=name)
    try:
        case(*arguments)
        print(f"[       OK ] {name} ({time.time() - start:.1f} s)", flush=True)
        return True
    except Exception:
        tree.SubElement(element, "failure").text = traceback.format_exc()
        print(f"{traceback.format_exc()}[   FAILED ] {name}", flush=True)
        return False


def main():
    snapfaas_program, state, junit = sys.argv[1:]
    state = os.path.abspath(state)
    shutil.rmtree(state, ignore_errors=True)
    suite = tree.Element("testsuite", name="clients")
    node = Node(snapfaas_program, os.path.join(state, "plain"))
    cases = [boto3, awscli, snapfaas, function_url]
    try:
        good = [run_case(suite, case.__name__, case, node) for case in cases]
    finally:
        node.down()
    good += [run_case(suite, case.__name__, case, snapfaas_program, os.path.join(state, case.__name__))
             for case in (signatures, remote_address)]
    tree.ElementTree(suite).write(junit)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
