#!/usr/bin/env python3
"""How near is the simulated node to the real one? Runs the sim-*.yaml workloads on a node, measures costs in runs of
their own, and compares (docs/simulator.md).

Usage: check_simulator.py [--snapfaas PROGRAM] [--tolerance PERCENT] FOLDER [STEP]...

STEPs: costs, bare, one, several, crowded (runs of the real node), compare; all of them where none is named. FOLDER keeps
the results, so that steps can be run one by one. Exit code 1 when the simulated node is not near enough.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

WORKLOADS = pathlib.Path(__file__).resolve().parent / "workloads"
VM_MIB = 128 + 8  # with what a node reckons beside it
# Idle microVMs are gone soon, so that a run finds none of the run before.
IDLE_SECONDS = 5

# By step: the workload, and the node's settings.
STEPS = {
    "costs": ("sim-costs", {"microvms": 2, "idle_seconds": 600}),
    "bare": ("sim-costs", {"microvms": 2, "idle_seconds": 600, "shells": 0}),
    "one": ("sim-one", {"microvms": 8}),
    "several": ("sim-several", {"microvms": 12}),
    "crowded": ("sim-crowded", {"microvms": 2, "queue": 1}),
}
CHECKED = ("one", "several", "crowded")
# What is checked must not be what the costs are from: other arrivals.
CHECKED_SEED = 1
COSTS_SEED = 11


def run(*command, check=True, **options):
    print("+", " ".join(str(part) for part in command), flush=True)
    return subprocess.run([str(part) for part in command], check=check, **options)


def settings_of(microvms, idle_seconds=IDLE_SECONDS, shells=2, queue=1000):
    return (
        f"[memory]\nbudget_mib = {microvms * VM_MIB}\n\n"
        f"[microvms]\nidle_seconds = {idle_seconds}\nshells = {shells}\n\n"
        f"[requests]\nqueue_per_function = {queue}\n"
    )


def load(snapfaas, workload, seed, report, accelerator, environment):
    run(
        *(snapfaas, "bench", "load", WORKLOADS / f"{workload}.yaml", "--deploy", "--snapshots", "on"),
        *("--seed", seed, "--accelerator", accelerator, "--json", report),
        env=environment,
    )


def measure(snapfaas, folder, step):
    workload, settings = STEPS[step]
    config = folder / f"{step}.toml"
    config.write_text(settings_of(**settings), encoding="ascii")
    state = folder / "node"
    run(snapfaas, "up", "--state", state, "--port", 0, "--config", config)
    try:
        status = run(snapfaas, "status", "--state", state, "--json", capture_output=True)
        environment = {**os.environ, "SNAPFAAS_ENDPOINT": json.loads(status.stdout)["url"]}
        emulated = run(snapfaas, "host", "status", check=False, capture_output=True).returncode == 0
        accelerator = "emulated-host" if emulated else "kvm"
        # Also has the node do once what it does once for each function.
        name = f"{step}-costs" if step in CHECKED else step
        load(snapfaas, workload, COSTS_SEED, folder / f"{name}.json", accelerator, environment)
        if step in CHECKED:
            time.sleep(IDLE_SECONDS + 2)
            load(snapfaas, workload, CHECKED_SEED, folder / f"{step}.json", accelerator, environment)
    finally:
        run(snapfaas, "down", "--state", state, check=False)


def compare(snapfaas, folder, tolerance):
    far = []
    for step in CHECKED:
        done = run(
            *(snapfaas, "simulate", WORKLOADS / f"{STEPS[step][0]}.yaml", "--seed", CHECKED_SEED),
            *("--costs", folder / "costs.json", "--costs", folder / f"{step}-costs.json"),
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
    steps = options.steps or [*STEPS, "compare"]
    for step in steps:
        if step not in STEPS and step != "compare":
            parser.error(f"there is no step {step}: {', '.join(STEPS)}, compare")
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
