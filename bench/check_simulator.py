#!/usr/bin/env python3
"""How near is the simulated node to the real one? Runs the sim-*.yaml workloads on a node of its own, measures costs in
runs of their own, and compares (docs/simulator.md).

Usage: check_simulator.py [--snapfaas PROGRAM] [--tolerance PERCENT] FOLDER [STEP]...

STEPs: costs, bare, one, several, crowded (a run of the real node each), compare; all of them where none is named. FOLDER
keeps the results, so that steps can be run one by one. Exit code 1 when the simulated node is not near enough.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

WORKLOADS = pathlib.Path(__file__).resolve().parent / "workloads"
VM_MIB = 128 + 8  # with what a node reckons beside it

# By step: the workload, and the node's settings.
RUNS = {
    "costs": ("sim-costs", f"[memory]\nbudget_mib = {2 * VM_MIB}\n"),
    "bare": ("sim-costs", f"[memory]\nbudget_mib = {2 * VM_MIB}\n\n[microvms]\nshells = 0\n"),
    "one": ("sim-one", f"[memory]\nbudget_mib = {8 * VM_MIB}\n"),
    "several": ("sim-several", f"[memory]\nbudget_mib = {12 * VM_MIB}\n"),
    "crowded": ("sim-crowded", f"[memory]\nbudget_mib = {2 * VM_MIB}\n\n[requests]\nqueue_per_function = 1\n"),
}
CHECKED = ("one", "several", "crowded")
# The costs must not be of the arrivals that are checked.
SEED = {"costs": 11, "bare": 12}


def run(*command, check=True, **options):
    print("+", " ".join(str(part) for part in command), flush=True)
    return subprocess.run([str(part) for part in command], check=check, **options)


def measure(snapfaas, folder, step):
    workload, settings = RUNS[step]
    config = folder / f"{step}.toml"
    config.write_text(settings, encoding="ascii")
    state = folder / "node"
    run(snapfaas, "up", "--state", state, "--port", 0, "--config", config)
    try:
        status = run(snapfaas, "status", "--state", state, "--json", capture_output=True)
        url = json.loads(status.stdout)["url"]
        environment = {**os.environ, "SNAPFAAS_ENDPOINT": url}
        emulated = run(snapfaas, "host", "status", check=False, capture_output=True).returncode == 0
        run(
            *(snapfaas, "bench", "load", WORKLOADS / f"{workload}.yaml", "--deploy", "--snapshots", "on"),
            *("--seed", SEED.get(step, 1), "--accelerator", "emulated-host" if emulated else "kvm"),
            *("--json", folder / f"{step}.json"),
            env=environment,
        )
    finally:
        run(snapfaas, "down", "--state", state, check=False)


def compare(snapfaas, folder, tolerance):
    far = []
    for step in CHECKED:
        done = run(
            *(snapfaas, "simulate", WORKLOADS / f"{RUNS[step][0]}.yaml", "--costs", folder / "costs.json"),
            *("--bare-costs", folder / "bare.json", "--config", folder / f"{step}.toml"),
            *("--check", folder / f"{step}.json", "--tolerance", tolerance, "--json", folder / f"{step}-simulated.json"),
            check=False,
        )
        if done.returncode != 0:
            far.append(step)
    print("not near enough: " + ", ".join(far) if far else f"all within {tolerance} %")
    return 1 if far else 0


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapfaas", default=root / "build/bin/snapfaas")
    parser.add_argument("--tolerance", default=10)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("steps", nargs="*", metavar="STEP")
    options = parser.parse_args()
    steps = options.steps or [*RUNS, "compare"]
    for step in steps:
        if step not in RUNS and step != "compare":
            parser.error(f"there is no step {step}: {', '.join(RUNS)}, compare")
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = options.folder.resolve()
    code = 0
    for step in steps:
        if step == "compare":
            code = compare(options.snapfaas, folder, options.tolerance)
        else:
            measure(options.snapfaas, folder, step)
    return code


if __name__ == "__main__":
    sys.exit(main())
