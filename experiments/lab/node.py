"""A real node for a while, loads on it, and the same on a simulated one."""

import contextlib
import json
import re
import time

from lab.run import Failed

VM_MIB = 128 + 8  # with what a node reckons beside it
# Idle microVMs are gone soon, so that a run finds none of the run before.
IDLE_SECONDS = 5

# How near the simulated node is to the real one: by step, the workload and the node's settings. The first two measure
# costs.
STEPS = {
    "costs": ("sim-costs", {"microvms": 2, "idle_seconds": 600}),
    "bare": ("sim-costs", {"microvms": 2, "idle_seconds": 600, "shells": 0}),
    "one": ("sim-one", {"microvms": 8}),
    "several": ("sim-several", {"microvms": 12}),
    "crowded": ("sim-crowded", {"microvms": 2, "queue": 1}),
}
CHECKED = ("one", "several", "crowded")
CHECKED_SEED = 1
COSTS_SEED = 11
# What is checked must not be what the costs are from: each half of a run, parts of so many seconds by turns, is checked
# with the costs of the other half. A machine that becomes faster or slower meanwhile, as shared ones do, is on average as
# fast in both.
HOLD_OUT_SECONDS = 2
WARM_UP_SECONDS = 20


def settings_of(microvms, idle_seconds=IDLE_SECONDS, shells=2, queue=1000):
    """A node's settings, with memory for so many microVMs of 128 MiB."""
    return (
        f"[memory]\nbudget_mib = {microvms * VM_MIB}\n\n"
        f"[microvms]\nidle_seconds = {idle_seconds}\nshells = {shells}\n\n"
        f"[requests]\nqueue_per_function = {queue}\n"
    )


def workload(run, name):
    return run.root / "bench" / "workloads" / f"{name}.yaml"


class Node:
    """A node that is up."""

    def __init__(self, run, url, is_emulated):
        self._run = run
        self._environment = {"SNAPFAAS_ENDPOINT": url}
        # Who sends the load has the emulated host's clock too.
        self._inside = ["host", "exec", "--", run.program] if is_emulated else []
        self.accelerator = "emulated-host" if is_emulated else "kvm"

    def load(self, path, seed, report, *options):
        """Sends a workload, and keeps what became of it in the file `report`."""
        self._run.snapfaas(*self._inside, "bench", "load", path, "--seed", seed, *options, "--accelerator",
                           self.accelerator, "--json", report, environment=self._environment)


def shortened(run, name, seconds):
    """A workload that ends earlier, among the experiment's own files."""
    text = workload(run, name).read_text()
    text = re.sub(r"^duration: \d+$", f"duration: {seconds}", text, flags=re.MULTILINE)
    # It lies in another folder than the workload, from which these are seen.
    text = text.replace("../../examples/", f"{run.root}/examples/")
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / f"{name}.yaml"
    path.write_text(text)
    return path


@contextlib.contextmanager
def node_with(run, settings, name):
    """A Node with these settings, which are kept as NAME.toml; it is down again afterwards."""
    run.folder.mkdir(parents=True, exist_ok=True)
    config, state = run.folder / f"{name}.toml", run.folder / "node"
    config.write_text(settings, encoding="ascii")
    run.snapfaas("up", "--state", state, "--port", 0, "--config", config)
    try:
        status = json.loads(run.snapfaas("status", "--state", state, "--json"))
        yield Node(run, status["url"], status["accelerator"] == "emulated-host")
    finally:
        with contextlib.suppress(Failed):
            run.snapfaas("down", "--state", state)


def measure(run, step):
    """Keeps what the node did as STEP.json."""
    name, settings = STEPS[step]
    deployed = ["--deploy", "--snapshots", "on"]
    with node_with(run, settings_of(**settings), step) as node:
        if step not in CHECKED:
            node.load(workload(run, name), COSTS_SEED, run.folder / f"{step}.json", *deployed)
            return
        # The node does some things once for each function.
        warm_up = shortened(run, name, WARM_UP_SECONDS)
        node.load(warm_up, COSTS_SEED, run.folder / f"{step}-warm-up.json", *deployed)
        time.sleep(IDLE_SECONDS + 2)
        node.load(workload(run, name), CHECKED_SEED, run.folder / f"{step}.json")


def costs_of(run, *steps):
    """The options of `snapfaas simulate` that say what things take on the node that was measured."""
    words = []
    for step in ("costs", *steps):
        words += ["--costs", run.folder / f"{step}.json"]
    return [*words, "--bare-costs", run.folder / "bare.json"]


def checked_costs_of(run, step):
    """The same for a step that is checked."""
    return ["--costs", run.folder / f"{step}.json", "--hold-out", HOLD_OUT_SECONDS, "--missing-costs",
            run.folder / "costs.json", "--bare-costs", run.folder / "bare.json"]


def simulate_checked(run, step, *options):
    """The simulated node's run of a step that was measured: its report, with both beside each other."""
    return simulate_beside(run, step, workload(run, STEPS[step][0]), *checked_costs_of(run, step), *options)


def simulate_beside(run, name, load, *options):
    """The same of any workload whose run, NAME.json, was on a node of the settings in NAME.toml."""
    report = run.folder / f"{name}-simulated.json"
    report.unlink(missing_ok=True)
    print(run.snapfaas("simulate", load, "--seed", CHECKED_SEED, *options, "--config", run.folder / f"{name}.toml",
                       "--check", run.folder / f"{name}.json", "--json", report))
    return json.loads(report.read_text())


def far_rows(report, tolerance):
    """What is checked of a simulated run, and is farther than so many percent from the real one."""
    return [row for row in report["check"]
            if row["checked"] and (row["difference_percent"] is None or abs(row["difference_percent"]) > tolerance)]
