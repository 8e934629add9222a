#!/usr/bin/python3
"""Runs the experiments and renders their results. `./dev experiments` calls it; README.md here tells how it works."""

import argparse
import importlib
import os
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from lab import report, run  # noqa: E402


def experiments():
    """Every module beside this one that says which experiment it is, in the order of their numbers."""
    modules = [importlib.import_module(path.stem) for path in sorted(HERE.glob("*.py"))
               if path.stem != "run" and not path.stem.endswith("_test")]
    return sorted(modules, key=lambda module: module.NUMBER)


def parse(arguments, known):
    parser = argparse.ArgumentParser(prog="./dev experiments", description="Measures again what the poster measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(f"{e.NAME}: {e.TITLE}" for e in known))
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", dest="scale", action="store_const", const="quick", default="full",
                       help="fewer samples, sizes and languages")
    scale.add_argument("--smoke", dest="scale", action="store_const", const="smoke",
                       help="next to nothing, into build/experiments/smoke/: that it works at all")
    parser.add_argument("--render", action="store_true", help="draw again from the samples that were kept")
    parser.add_argument("--firecracker", metavar="PATH", type=pathlib.Path,
                        help="a Firecracker binary (1.8 or newer) for the experiment 'peers' to measure too")
    parser.add_argument("--snapfaas", default=HERE.parent / "build/bin/snapfaas", type=pathlib.Path,
                        help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.firecracker and not os.access(options.firecracker, os.X_OK):
        parser.error(f"--firecracker: {options.firecracker} is no program")
    names = [experiment.NAME for experiment in known]
    for name in options.names:
        if name not in names:
            parser.error(f"there is no experiment '{name}': {', '.join(names)}")
    return options


class Places:
    """Where files go. A smoke run leaves docs/results alone; a quick one leaves alone the samples of a full one."""

    def __init__(self, root, scale):
        kept = root / "build" / "experiments"
        self.samples = kept if scale == "full" else kept / scale
        self.results = kept / scale if scale == "smoke" else root / "docs" / "results"
        self.work = kept / "work"


def samples_of(experiment, options, root, places, built):
    path = places.samples / f"{experiment.NAME}.json"
    if options.render:
        return run.kept_samples(path)
    own = run.Run(root, options.snapfaas, options.scale, places.work / experiment.NAME,
                  options.firecracker and options.firecracker.resolve(), built)
    kept = run.measure(experiment, own)
    run.keep(kept, path)
    return kept


def section_of(experiment, kept, places):
    places.results.mkdir(parents=True, exist_ok=True)
    section = report.Report(kept, places.results, experiment.TITLE)
    experiment.render(kept["samples"], section)
    return section.text()


def main(arguments):
    root = HERE.parent
    known = experiments()
    options = parse(arguments, known)
    places = Places(root, options.scale)
    index = places.results / "index.md"
    sections = report.sections_of(index.read_text()) if index.exists() else {}
    chosen = [experiment for experiment in known if not options.names or experiment.NAME in options.names]
    failed = []
    built = {}
    started = time.monotonic()
    for experiment in chosen:
        run.say(f"experiment {experiment.NAME}: {experiment.TITLE}")
        began = time.monotonic()
        try:
            kept = samples_of(experiment, options, root, places, built)
            sections[experiment.NAME] = section_of(experiment, kept, places)
        except Exception as error:  # pylint: disable=broad-except  (the others are to run)
            if not isinstance(error, (run.Failed, ValueError)):
                traceback.print_exc()
            print(f"FAILED   experiment {experiment.NAME}: {error}", file=sys.stderr, flush=True)
            failed.append(experiment.NAME)
            continue
        # At once: a later one may be broken off.
        index.write_text(report.index_of(sections, [experiment.NAME for experiment in known]))
        run.say(f"experiment {experiment.NAME}: done in {time.monotonic() - began:,.0f} s")
    if len(failed) < len(chosen):
        run.say(f"written: {index.relative_to(root)} ({time.monotonic() - started:,.0f} s in all)")
    if failed:
        print(f"{len(failed)} of {len(chosen)} experiments failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
