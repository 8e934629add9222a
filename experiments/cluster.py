"""One function, several, and several for many users, with little memory and plenty, with snapshots and without: on a
real node where it is small, on a simulated one where it is large."""

import concurrent.futures
import json
import os

from lab import node, table
from lab.report import Claim
from lab.run import Failed
from lab.statistics import ratio

NUMBER = 7
NAME = "cluster"
TITLE = "Clusters: functions, users and memory"

# What launches are, as `snapfaas simulate --snapshots` has them.
SNAPSHOTS = {"off": "none: boots", "base": "languages'", "on": "functions'"}
LINES = {"off": "without snapshots", "base": "languages' snapshots", "on": "functions' snapshots"}
STEPS = {"one": "one function", "several": "several functions", "crowded": "several, little memory"}
# The real node without function snapshots; nothing is checked against it.
OFF = "crowded-off"
# What a quick run measures, both on one node: costs, and what is checked with them.
QUICK_COSTS, QUICK = "quick-costs", "quick"
NAMES = {**STEPS, OFF: STEPS["crowded"], QUICK_COSTS: STEPS["crowded"], QUICK: STEPS["one"]}

GIB = 1024
# What the large end is: the load, and the machine's CPUs, each as fast as that of the machine that was measured.
LOADS = {
    "one": {"title": "One function, 100 users", "workload": "cluster-one", "cpus": 16, "scale": 1,
            "gib": [0.25, 0.5, 1, 2, 4, 8, 16]},
    "several": {"title": "Four functions, 140 users", "workload": "cluster-several", "cpus": 16, "scale": 1,
                "gib": [0.5, 1, 2, 4, 8, 16, 32]},
    "many": {"title": "Functions by the thousand", "workload": "cluster-many", "cpus": 64, "scale": 1000,
             "gib": [16, 32, 64, 128, 256, 512, 768]},
    "azure-2019": {"title": "A trace of Azure's 2019 form", "cpus": 128, "scale": 50, "minutes": 10,
                   "gib": [8, 16, 32, 64, 128, 256, 512]},
    "azure-2021": {"title": "A trace of Azure's 2021 form", "cpus": 128, "scale": 200, "minutes": 10,
                   "gib": [8, 16, 32, 64, 128, 256, 512]},
}

# A machine that one supposes, for trying out this experiment: ms.
SUPPOSED = {
    "cpus": 1, "overhead": 9, "shell": 120, "destroy": 25, "run": {"median": 16, "p99": 60},
    "restored": {"restore": 25, "load": 10, "run": 25}, "cold": {"restore": 25, "load": 90, "run": 25},
    "boot": {"boot": 5000, "load": 90, "run": 25},
}


def measure(run):
    run.folder.mkdir(parents=True, exist_ok=True)
    samples = {"supposed": run.scale == "smoke", "fidelity": {}, "real": {}}
    if run.scale == "smoke":
        costs = supposed_costs(run)
    elif run.scale == "quick":
        run.need_runtimes("python3")
        costs = [*quick_costs(run, samples), *boot_costs(run, 1)]
    else:
        run.need_runtimes("python3")
        costs = [*full_costs(run, samples), *boot_costs(run, 3)]
    names = run.pick(list(LOADS), list(LOADS), ["one", "azure-2019"])
    # A quick run does not measure restores of languages' snapshots.
    kinds = run.pick(list(SNAPSHOTS), ["off", "on"], list(SNAPSHOTS))
    samples["large"] = {name: simulate_load(run, name, kinds, costs) for name in names}
    return samples


# --- costs, and the small end -----------------------------------------------------------------------------------------

def supposed_costs(run):
    path = run.folder / "supposed.json"
    path.write_text(json.dumps(SUPPOSED))
    return ["--costs", path]


def boot_costs(run, boots):
    app, event = run.root / "examples" / "lorem-python", '{"n":3}'
    path = run.folder / "boots.json"
    report = run.bench("breakdown", "--runtime", "python3", "--app", app, "--event", event, "--boots", boots,
                       "--restores", 1)
    path.write_text(json.dumps(report))
    return ["--boot-costs", path]


def full_costs(run, samples):
    for step in node.STEPS:
        node.measure(run, step)
    name, settings = node.STEPS["crowded"]
    with node.node_with(run, node.settings_of(**settings), OFF) as real:
        real.load(node.shortened(run, name, 40), node.CHECKED_SEED, run.folder / f"{OFF}.json", "--deploy",
                  "--snapshots", "off")
    for step in STEPS:
        samples["fidelity"][step] = node.simulate_checked(run, step)["check"]
        samples["real"][step] = point_of(real_run(run, step))
    samples["real"][OFF] = point_of(real_run(run, OFF))
    return [*node.costs_of(run, *STEPS), "--costs", run.folder / f"{OFF}.json"]


def quick_costs(run, samples):
    """Of two short loads on one node with function snapshots; the second is checked."""
    costs, checked = run.folder / f"{QUICK_COSTS}.json", run.folder / f"{QUICK}.json"
    load = node.shortened(run, "sim-one", 20)
    with node.node_with(run, node.settings_of(microvms=3, idle_seconds=600), QUICK) as real:
        real.load(node.shortened(run, "sim-costs", 40), node.COSTS_SEED, costs, "--deploy", "--snapshots", "on")
        # Its function is one of the first load's.
        real.load(load, node.CHECKED_SEED, checked)
    held_out = ["--costs", checked, "--hold-out", node.HOLD_OUT_SECONDS, "--missing-costs", costs]
    samples["fidelity"][QUICK] = node.simulate_beside(run, QUICK, load, *held_out)["check"]
    samples["real"] = {name: point_of(real_run(run, name)) for name in (QUICK_COSTS, QUICK)}
    return ["--costs", costs, "--costs", checked]


def real_run(run, name):
    return json.loads((run.folder / f"{name}.json").read_text())["runs"][0]


# --- the large end ----------------------------------------------------------------------------------------------------

def source_of(run, name):
    """The words that name what is simulated."""
    load = LOADS[name]
    if "workload" in load:
        return [node.workload(run, load["workload"])]
    traces = run.root / "bench" / "traces"
    words = ["--minutes", load["minutes"]]
    if name == "azure-2021":
        return [*words, "--azure-2021", traces / "azure-2021.csv"]
    return [*words, "--azure-2019", traces / "azure-2019-durations.csv", traces / "azure-2019-invocations.csv",
            "--azure-memory", traces / "azure-2019-memory.csv"]


def simulate_load(run, name, kinds, costs):
    """Points by what is restored, one for each size of memory."""
    load = LOADS[name]
    sizes = run.pick(load["gib"], load["gib"][1::3], load["gib"][2:4])

    def simulate(snapshots, gib):
        report = run.folder / f"simulated-{snapshots}-{gib:g}gib.json"
        run.snapfaas("simulate", *source_of(run, name), *costs, "--cpus", load["cpus"], "--scale",
                     run.pick(load["scale"], load["scale"], 1), "--budget", round(gib * GIB), "--snapshots",
                     snapshots, "--json", report)
        made = json.loads(report.read_text())
        report.unlink()
        return {"gib": gib, "functions": made["functions"], "cpu_share": made["runs"][0]["cpu_share"],
                **point_of(made["runs"][0])}

    # A simulation's results do not depend on how long it takes: as many at once as there are CPUs.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        points = {snapshots: [pool.submit(simulate, snapshots, gib) for gib in sizes] for snapshots in kinds}
        return {snapshots: [point.result() for point in there] for snapshots, there in points.items()}


def point_of(one):
    """What is kept of a run, real or simulated."""
    scheduling, latency = one["scheduling_ms"], one["latency_ms"]
    succeeded = latency["all"]["count"]
    return {
        "requests": one["outcomes"]["requests"],
        "success": one["success_rate"],
        "offered": one["offered_per_second"],
        "answers": one["succeeded_per_second"],
        # Of requests that succeeded, or that a function answered: there may be none.
        "cold": 1 - latency["warm"]["count"] / succeeded if succeeded else None,
        "scheduling_p50": scheduling.get("p50"),
        "scheduling_p99": scheduling.get("p99"),
        "latency_p50": latency["all"].get("p50"),
    }


# --- results ----------------------------------------------------------------------------------------------------------

def least_memory(points, success=0.99):
    """GiB of the smallest machine from which on so many requests succeed; None where none is large enough."""
    enough = None
    for point in sorted(points, key=lambda one: one["gib"], reverse=True):
        if point["success"] < success:
            break
        enough = point["gib"]
    return enough


def claims_of(samples):
    claims = []
    for step, rows in samples["fidelity"].items():
        for row in rows:
            if row["checked"]:
                claims.append(Claim(f"{NAMES[step]}: simulated against real, {row['what'].split(',')[0]}", "% off", None,
                                    abs(row["difference_percent"])))
    for name, points in samples["large"].items():
        title = LOADS[name]["title"]
        with_all, without = points["on"][-1], points["off"][-1]
        claims.append(Claim(f"{title}, most memory, function snapshots: succeeded", "%", None,
                            with_all["success"] * 100))
        claims.append(Claim(f"{title}, most memory, without snapshots: succeeded", "%", None,
                            without["success"] * 100))
        if without["answers"] > 0:
            claims.append(Claim(f"{title}, most memory: answers with ÷ without", "×", None,
                                ratio(with_all["answers"], without["answers"], title), better="higher"))
        if with_all["scheduling_p99"] and without["scheduling_p99"]:
            claims.append(Claim(f"{title}, most memory: scheduling latency, p99, without ÷ with", "×", None,
                                ratio(without["scheduling_p99"], with_all["scheduling_p99"], title), better="higher"))
    return claims


def render(samples, report):
    report.paragraph("""Requests come as Poisson processes, whatever became of those before them (open loop). *Success*:
        requests that were answered, of all; *answers*: a second, before the load's end; *scheduling*: from a request's
        coming to its function's being called, the microVM's launch included; *cold starts*: of the requests that
        succeeded those whose microVM was made for them, restored or booted. The simulated node is the real one's
        Controller and Request Manager on measured times ([how, and how near](../simulator.md)).""")
    if samples["supposed"]:
        report.paragraph("The times are supposed, not measured: these figures show that the experiment works, no more.")
    report.compare(claims_of(samples), """its CPU is ten to fifty times slower, so a machine of real CPUs bears as many
        times the load.""")
    report.paragraph("""The poster has no figures for clusters: it measured single microVMs, which a snapshot made ready
        6 times sooner than a boot. The first SnapFaaS had loads of this form for several functions, but used no microVM
        twice. So these figures are set against each other: with snapshots and without.""")
    if samples["fidelity"]:
        fidelity_tables(samples, report)
    if samples["real"]:
        real_table(samples["real"], report)
    for name, points in samples["large"].items():
        large_table(name, points, report)
    draw(samples["large"], report)


def fidelity_tables(samples, report):
    rows = []
    for step, found in samples["fidelity"].items():
        for row in found:
            difference = row["difference_percent"]
            rows.append([NAMES[step], row["what"], table.number(row["real"]), table.number(row["simulated"]),
                         "–" if difference is None else f"{difference:+.1f} %"])
    report.table(["load", "", "real node", "simulated", "difference"], rows,
                 "The simulated node beside the real one: each half of a run with costs of the other", left=2)


def real_table(real, report):
    rows = [[NAMES[name], SNAPSHOTS["base" if name == OFF else "on"], *cells(point)]
            for name, point in real.items()]
    report.table(["load", "snapshots", *CELLS], rows, "The real node: the small end", left=2)


CELLS = ["requests", "success, %", "answers a second", "scheduling p50, ms", "p99, ms", "cold starts, %"]


def cells(point):
    return [table.number(point["requests"]), table.number(point["success"] * 100), table.number(point["answers"]),
            table.number(point["scheduling_p50"]), table.number(point["scheduling_p99"]),
            "–" if point["cold"] is None else table.number(point["cold"] * 100)]


def large_table(name, points, report):
    load = LOADS[name]
    rows = [[table.number(point["gib"], 2).rstrip("0").rstrip("."), SNAPSHOTS[snapshots], *cells(point)]
            for place in range(len(points["on"])) for snapshots in points
            for point in [points[snapshots][place]]]
    offered, functions = points["on"][0]["offered"], points["on"][0]["functions"]
    report.table(["memory, GiB", "snapshots", *CELLS], rows,
                 f"{load['title']}, simulated: {functions:,} function{'' if functions == 1 else 's'}, "
                 f"{offered:,.1f} requests a second, {load['cpus']:,} CPUs", left=2)
    enough = {kind: least_memory(points[kind]) for kind in points}
    told = "; ".join(f"{SNAPSHOTS[kind]}: {'none of these sizes' if gib is None else f'{gib:g} GiB'}"
                     for kind, gib in enough.items())
    report.paragraph(f"Memory from which on 99 % of the requests succeed, by snapshots: {told}.")


PANELS = [("success", "Success", "% of requests", 100), ("answers", "Throughput", "answers a second", 1),
          ("scheduling_p99", "Scheduling latency", "ms (99th percentile), logarithmic", 1),
          ("cold", "Cold starts", "% of answers", 100)]
LEAST_SHOWN_MS = 0.01  # on a logarithmic axis, where 0 has no place


def draw(large, report):
    from lab import plot

    for name, points in large.items():
        made, panels = plot.figure(panels=len(PANELS), width=17, height=3.6)
        sizes = [point["gib"] for point in points["on"]]
        for axes, (what, title, unit, factor) in zip(panels, PANELS):
            is_log = what == "scheduling_p99"
            for place, snapshots in enumerate(points):
                there = [point for point in points[snapshots] if point[what] is not None]
                plot.plain_line(axes, [point["gib"] for point in there],
                                [max(point[what] * factor, LEAST_SHOWN_MS) if is_log else point[what] * factor
                                 for point in there], LINES[snapshots], place)
            plot.log_axis(axes.xaxis, sizes)
            if is_log:
                plot.log_axis(axes.yaxis)
            else:
                axes.set_ylim(0, axes.dataLim.y1 * 1.08 or 1)
            plot.label(axes, title, "memory, GiB, logarithmic", unit, legend=axes is panels[-1])
        report.figure(name, made, f"Lines over the machine's memory: {LOADS[name]['title']}")
