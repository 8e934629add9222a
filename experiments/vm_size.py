"""What the size of a microVM costs: time to restore it, and bytes of its snapshot."""

from lab import table
from lab.report import Claim
from lab.statistics import ratio, spread

NUMBER = 2
NAME = "vm-size"
TITLE = "Size of the microVM"

MODES = {"copy": "copy, as the poster", "mmap": "mmap", "prefetch": "prefetch", "primed": "primed, as a node does it"}
MIB = 1024 * 1024
KEPT = ("memory_mib", "mode", "ready_ms", "response_ms", "stored_bytes")
# So that no command takes much longer than a few minutes.
SIZES_AT_ONCE = 12


def measure(run):
    sizes = run.pick(list(range(128, 3072 + 1, 128)), [128, 3072], [128])
    runs = run.pick(4, 3, 2)
    run.need_runtimes("python3")
    app, event = run.contract_app("python3")
    restores = []
    for first in range(0, len(sizes), SIZES_AT_ONCE):
        report = run.bench("restore", "--runtime", "python3", "--app", app, "--event", event, "--memory",
                           ",".join(map(str, sizes[first:first + SIZES_AT_ONCE])), "--modes", ",".join(MODES),
                           "--layers", "base", "--runs", runs, "--boots", 1)
        restores += [{key: sample[key] for key in KEPT} for sample in report["samples"]]
    return {"restores": restores}


def of_mode(samples, mode, what):
    """{MiB: Spread} in the order of the sizes."""
    found = {one["memory_mib"]: spread(one[what], f"{mode}, {one['memory_mib']} MiB, {what}")
             for one in samples["restores"] if one["mode"] == mode}
    return dict(sorted(found.items()))


def render(samples, report):
    ready = {mode: of_mode(samples, mode, "ready_ms") for mode in MODES}
    response = {mode: of_mode(samples, mode, "response_ms") for mode in MODES}
    stored = {one["memory_mib"]: one["stored_bytes"] for one in samples["restores"]}
    sizes = sorted(stored)
    least, most = sizes[0], sizes[-1]
    report.paragraph(f"""A Python microVM with one vCPU, restored from its base snapshot in memory, in sizes from
        {least} to {most} MiB. *Ready*: from the request's arrival to the runtime able to load a function.""")
    claims = [Claim(f"restore of {least} MiB by copying, ready", "ms", 50, ready["copy"][least]),
              Claim(f"restore of {least} MiB, primed, ready", "ms", 50, ready["primed"][least]),
              Claim(f"snapshot of {least} MiB", "MB", 37, stored[least] / 1e6)]
    claims += [Claim(f"{most} ÷ {least} MiB, ready, {mode}", "×", None,
                     ratio(ready[mode][most].median, ready[mode][least].median, mode), digits=2)
               for mode in MODES if most != least]
    report.compare(claims, """copying is dearer here than on hardware, as each of its page faults is emulated; what
        the size adds is the kernel's record of its pages (1/64 of the memory), which only copying has to touch.""")
    draw(ready, stored, report)
    rows = [[str(size), *(f"{times[mode][size]}" for times in (ready, response) for mode in MODES),
             table.number(stored[size] / MIB)] for size in sizes]
    runs = ready["copy"][least].count
    columns = [f"{mode}, {what}" for what in ("ready", "answer") for mode in MODES]
    report.table(["MiB", *columns, "snapshot, MiB"], rows, f"Restores, ms: medians of {runs} runs (MAD)")


def draw(ready, stored, report):
    from lab import plot

    made, (times, sizes) = plot.figure(panels=2, width=12)
    for place, (mode, name) in enumerate(MODES.items()):
        plot.line(times, list(ready[mode]), list(ready[mode].values()), name, place)
    plot.log_axis(times.yaxis)
    plot.label(times, "Restore to ready", "memory of the microVM, MiB", "ms (median, MAD), logarithmic")
    plot.plain_line(sizes, sorted(stored), [stored[size] / MIB for size in sorted(stored)], "", 0)
    sizes.set_ylim(bottom=0)
    plot.label(sizes, "Base snapshot", "memory of the microVM, MiB", "dirty memory stored, MiB", legend=False)
    report.figure("", made, "Lines: time of a restore, and bytes of the snapshot, over the memory size")
