#!/usr/bin/env python3
"""How near is the simulated node to the real one? Runs the sim-*.yaml workloads on a node, measures costs in runs of
their own, and compares (docs/simulator.md).

Usage: check_simulator.py [--snapfaas PROGRAM] [--tolerance PERCENT] FOLDER [STEP]...

STEPs: costs, bare, one, several, crowded (runs of the real node), compare; all of them where none is named. FOLDER keeps
the results, so that steps can be run one by one. Exit code 1 when the simulated node is not near enough.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))

from lab import node  # noqa: E402
from lab.run import Failed, Run  # noqa: E402


def compare(run, tolerance):
    far = []
    for step in node.CHECKED:
        if node.far_rows(node.simulate_checked(run, step), tolerance):
            far.append(step)
    print("not near enough: " + ", ".join(far) if far else f"all within {tolerance:g} %")
    return 1 if far else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapfaas", default=ROOT / "build/bin/snapfaas", type=pathlib.Path)
    parser.add_argument("--tolerance", default=10, type=float)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("steps", nargs="*", metavar="STEP")
    options = parser.parse_args()
    steps = options.steps or [*node.STEPS, "compare"]
    for step in steps:
        if step not in node.STEPS and step != "compare":
            parser.error(f"there is no step {step}: {', '.join(node.STEPS)}, compare")
    run = Run(ROOT, options.snapfaas.resolve(), "full", options.folder.resolve())
    measured = [step for step in steps if step != "compare"]
    try:
        for step in measured:
            node.measure(run, step)
        return compare(run, options.tolerance) if "compare" in steps else 0
    except Failed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
