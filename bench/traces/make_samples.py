#!/usr/bin/env python3
"""Small traces of the forms of Azure Functions' public ones, made up by a seeded generator: for tests and for trying out
`snapfaas simulate`. They say nothing about Azure.

Usage: make_samples.py [FOLDER]
"""

import hashlib
import pathlib
import random
import sys

FUNCTIONS = 40
MINUTES = 60
PERCENTILES = (0, 1, 25, 50, 75, 99, 100)
SPREAD = (0.3, 0.4, 0.7, 1.0, 1.6, 5.0, 8.0)  # of the median


def name_of(kind, number):
    return hashlib.sha256(f"{kind}{number}".encode()).hexdigest()


def make_functions(draw):
    functions = []
    for number in range(FUNCTIONS):
        functions.append(
            {
                "owner": name_of("owner", number // 8),
                "app": name_of("app", number // 3),
                "function": name_of("function", number),
                "trigger": draw.choice(("http", "timer", "queue")),
                # A few functions get most of the calls, and most run for less than a second.
                "per_minute": min(draw.paretovariate(0.9) * 0.2, 120),
                "median_ms": round(draw.lognormvariate(5.5, 1.3), 1),
            }
        )
    return functions


def counts_of(draw, function):
    if function["trigger"] == "timer":
        every = max(1, round(1 / function["per_minute"]))
        return [1 if minute % every == 0 else 0 for minute in range(MINUTES)]
    return [sum(draw.random() < 0.1 for _ in range(round(function["per_minute"] * 10))) for _ in range(MINUTES)]


def write(path, header, rows):
    lines = [",".join(str(value) for value in row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    if folder.is_file():
        folder = folder.parent
    draw = random.Random(2019)
    functions = make_functions(draw)
    counts = [counts_of(draw, function) for function in functions]

    key = ("HashOwner", "HashApp", "HashFunction")
    identities = [(f["owner"], f["app"], f["function"]) for f in functions]
    durations = []
    for identity, function, called in zip(identities, functions, counts):
        values = [round(function["median_ms"] * factor, 1) for factor in SPREAD]
        durations.append((*identity, function["median_ms"], sum(called), values[0], values[-1], *values))
    write(
        folder / "azure-2019-durations.csv",
        key + ("Average", "Count", "Minimum", "Maximum") + tuple(f"percentile_Average_{p}" for p in PERCENTILES),
        durations,
    )
    write(
        folder / "azure-2019-invocations.csv",
        key + ("Trigger",) + tuple(range(1, MINUTES + 1)),
        [(*identity, f["trigger"], *called) for identity, f, called in zip(identities, functions, counts)],
    )
    apps = dict.fromkeys((f["owner"], f["app"]) for f in functions)
    write(
        folder / "azure-2019-memory.csv",
        ("HashOwner", "HashApp", "SampleCount", "AverageAllocatedMb"),
        [(*app, 10, round(draw.lognormvariate(5, 0.5))) for app in apps],
    )

    calls = []
    for f in functions[:12]:
        for _ in range(round(f["per_minute"] * 20)):
            seconds = f["median_ms"] / 1e3 * draw.lognormvariate(0, 0.6)
            calls.append((f["app"], f["function"], draw.uniform(0, 1200) + seconds, seconds))
    calls.sort(key=lambda call: call[2])
    write(
        folder / "azure-2021.csv",
        ("app", "func", "end_timestamp", "duration"),
        [(app, function, f"{end:.3f}", f"{seconds:.3f}") for app, function, end, seconds in calls],
    )


if __name__ == "__main__":
    main()
