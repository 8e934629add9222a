"""A real node for a while, loads on it, and the same on a simulated one."""

import contextlib
import json
import re
import time

from lab import cpu_share
from lab.cpu_share import Shares
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
# What is checked must not be what the costs are from: other arrivals.
CHECKED_SEED = 1
# With less of the CPU that it asks for the emulated host's times are too coarse to be made good for.
LEAST_SHARE = 0.8
COSTS_SEED = 11


def settings_of(microvms, idle_seconds=IDLE_SECONDS, shells=2, queue=1000):
    """A node's settings, with memory for so many microVMs of 128 MiB."""
    return (
        f"[memory]\nbudget_mib = {microvms * VM_MIB}\n\n"
        f"[microvms]\nidle_seconds = {idle_seconds}\nshells = {shells}\n\n"
        f"[requests]\nqueue_per_function = {queue}\n"
    )


def keep(path, value):
    path.write_text(json.dumps(value))


def workload(run, name):
    return run.root / "bench" / "workloads" / f"{name}.yaml"


class Node:
    """A node that is up. `host_pid`: the emulated host's process, or None."""

    def __init__(self, run, url, host_pid):
        self._run = run
        self._environment = {"SNAPFAAS_ENDPOINT": url}
        self._host_pid = host_pid
        self.accelerator = "kvm" if host_pid is None else "emulated-host"

    def load(self, path, seed, report, *options):
        """Sends a workload, and keeps what became of it in the file `report`, with the share of the CPU that the
        emulated host got, as "cpu_windows"."""
        with cpu_share.watched(self._host_pid) if self._host_pid else contextlib.nullcontext([]) as windows:
            self._run.snapfaas("bench", "load", path, "--seed", seed, *options, "--accelerator", self.accelerator,
                               "--json", report, environment=self._environment)
        keep(report, {**json.loads(report.read_text()), "cpu_windows": windows})


def shortened(run, name, seconds):
    """A workload that ends earlier, among the experiment's own files."""
    text = workload(run, name).read_text()
    text = re.sub(r"^duration: \d+$", f"duration: {seconds}", text, flags=re.MULTILINE)
    # It lies in another folder than the workload, from which these are seen.
    text = text.replace("../../examples/", f"{run.root}/examples/")
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
        url = json.loads(run.snapfaas("status", "--state", state, "--json"))["url"]
        yield Node(run, url, emulated_host(run))
    finally:
        with contextlib.suppress(Failed):
            run.snapfaas("down", "--state", state)


def emulated_host(run):
    """The process of the emulated host, or None."""
    try:
        return json.loads(run.snapfaas("host", "status", "--json"))["pid"]
    except Failed:
        return None


def measure(run, step, tries=1):
    """Keeps what the node did as STEP.json, and for what is checked the costs as STEP-costs.json. Once more, so many
    times in all, where other programs took much of the CPU; returns the share that the emulated host got at last."""
    for left in reversed(range(tries)):
        measure_once(run, step)
        share = min(cpu_share_of(run, name) for name in results_of(step))
        if share >= LEAST_SHARE:
            break
        print(f"    of the CPU that it asked for the emulated host got {share * 100:.0f} %: "
              f"{'once more' if left else 'the figures are coarse'}", flush=True)
    return share


def results_of(step):
    return [f"{step}-costs", step] if step in CHECKED else [step]


def measure_once(run, step):
    name, settings = STEPS[step]
    with node_with(run, settings_of(**settings), step) as node:
        # Also has the node do once what it does once for each function.
        first, *checked = results_of(step)
        node.load(workload(run, name), COSTS_SEED, run.folder / f"{first}.json", "--deploy", "--snapshots", "on")
        for result in checked:
            time.sleep(IDLE_SECONDS + 2)
            node.load(workload(run, name), CHECKED_SEED, run.folder / f"{result}.json")


def undisturbed(run, name):
    """The file of the results NAME.json as if nothing else had used the machine's CPU."""
    report = json.loads((run.folder / f"{name}.json").read_text())
    path = run.folder / f"{name}-undisturbed.json"
    keep(path, cpu_share.undisturbed(report, Shares(report.pop("cpu_windows"))))
    return path


def costs_of(run, *steps):
    """The options of `snapfaas simulate` that say what things take on the node that was measured."""
    words = []
    for name in ("costs", *(f"{step}-costs" for step in steps)):
        words += ["--costs", undisturbed(run, name)]
    return [*words, "--bare-costs", undisturbed(run, "bare")]


def speeds_of(run, name):
    """The file with the speed of the emulated host's CPU during the run NAME.json, over time."""
    report = json.loads((run.folder / f"{name}.json").read_text())
    path = run.folder / f"{name}-speeds.json"
    keep(path, Shares(report["cpu_windows"]).speeds(report["runs"][0]["began_unix"]))
    return path


def cpu_share_of(run, name):
    """What the emulated host got, on the average of the run NAME.json, of the CPU time that it asked for."""
    report = json.loads((run.folder / f"{name}.json").read_text())
    of = report["runs"][0]
    return Shares(report["cpu_windows"]).between(of["began_unix"], of["began_unix"] + of["last_answer_seconds"])


def simulate_checked(run, step, *options):
    """The simulated node's run of a step that was measured: its report, with both beside each other."""
    report = run.folder / f"{step}-simulated.json"
    report.unlink(missing_ok=True)
    print(run.snapfaas("simulate", workload(run, STEPS[step][0]), "--seed", CHECKED_SEED, *costs_of(run, step),
                       "--config", run.folder / f"{step}.toml", "--speeds", speeds_of(run, step), "--check", run.folder / f"{step}.json", *options,
                       "--json", report))
    return json.loads(report.read_text())


def far_rows(report, tolerance):
    """What is checked of a simulated run, and is farther than so many percent from the real one."""
    return [row for row in report["check"]
            if row["checked"] and (row["difference_percent"] is None or abs(row["difference_percent"]) > tolerance)]
