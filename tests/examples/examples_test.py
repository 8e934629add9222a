#!/usr/bin/python3
"""Runs the examples as a reader would: the first command of each README.md, whose answer must be as answer.json says.

Usage: examples_test.py REPOSITORY SNAPFAAS JUNIT_XML [NAME...]

An example is a folder examples/<name>/ with README.md, event.json and answer.json. Its first command is the first line
of the README that is indented by four spaces (lines that end in a backslash go on); it is run by bash in the
repository, with build/bin/snapfaas being SNAPFAAS, and has to run a function of that folder with event.json. What is in
answer.json has to be in the answer; objects may have more members. An example whose runtime is not built is skipped.
Exit code 1 when one failed.
"""

import json
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as tree

SECONDS = 600


class Failed(Exception):
    pass


def first_command(readme):
    lines = iter(readme.splitlines())
    for line in lines:
        if line.startswith("    ") and line.strip():
            command = line.strip()
            while command.endswith("\\"):
                command = command[:-1] + next(lines, "").strip()
            return command
    raise Failed("README.md has no command: a line indented by four spaces")


def differences(wanted, found, place="the answer"):
    """What is in `wanted` and not in `found`, a line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if key not in found:
                yield f"{place} has no {key!r}"
            else:
                yield from differences(value, found[key], f"{place}[{key!r}]")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, value in enumerate(wanted):
            yield from differences(value, found[index], f"{place}[{index}]")
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield f"{place} is {found!r}, not {wanted!r}"


def check(root, snapfaas, built, folder):
    """Runs an example. Returns why it cannot be run here, if so."""
    for name in ("README.md", "event.json", "answer.json"):
        if not (folder / name).is_file():
            raise Failed(f"{folder.name} has no {name}")
    command = first_command((folder / "README.md").read_text())
    runtime = re.search(r"snapfaas run .*--runtime[ =](\S+)", command)
    place = f"examples/{folder.name}"
    if not runtime or not re.search(rf"--app[ =]{re.escape(place)}(/\S*)?(\s|$)", command):
        raise Failed(f"the first command does not run this function: {command}")
    if f"{place}/event.json" not in command:
        raise Failed(f"the first command does not use event.json: {command}")
    if runtime[1] not in built:
        return f"its runtime is not built: snapfaas runtime build {runtime[1]}"
    command = command.replace("build/bin/snapfaas", snapfaas)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=root, capture_output=True, text=True,
                          timeout=SECONDS, stdin=subprocess.DEVNULL)
    said = f"\n$ {command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    if done.returncode != 0:
        raise Failed(f"exit code {done.returncode}{said}")
    try:
        # What comes before it is of commands before `snapfaas run`.
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise Failed(f"the last line is no JSON{said}") from None
    wrong = list(differences(json.loads((folder / "answer.json").read_text()), answer))
    if wrong:
        raise Failed("\n".join(wrong) + said)
    return None


def main():
    root, snapfaas, junit, *names = sys.argv[1:]
    root, snapfaas = pathlib.Path(root).resolve(), str(pathlib.Path(snapfaas).resolve())
    listed = subprocess.run([snapfaas, "runtime", "ls", "--json"], check=True, capture_output=True)
    built = [runtime["name"] for runtime in json.loads(listed.stdout)]
    suite = tree.Element("testsuite", name="examples")
    failed = 0
    for name in names or sorted(path.name for path in (root / "examples").iterdir() if path.is_dir()):
        element = tree.SubElement(suite, "testcase", name=name)
        began = time.time()
        try:
            reason = check(root, snapfaas, built, root / "examples" / name)
        except (Failed, subprocess.TimeoutExpired) as error:
            tree.SubElement(element, "failure").text = str(error)
            print(f"{error}\n[   FAILED ] {name}", flush=True)
            failed += 1
            continue
        element.set("time", f"{time.time() - began:.3f}")
        if reason:
            tree.SubElement(element, "skipped").text = reason
            print(f"[  SKIPPED ] {name}: {reason}", flush=True)
        else:
            print(f"[       OK ] {name} ({time.time() - began:.1f} s)", flush=True)
    tree.ElementTree(suite).write(junit)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
