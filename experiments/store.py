"""The store of snapshots: in memory against on disk, and what all of it takes."""

import json

from lab import table
from lab.report import Claim
from lab.run import Failed
from lab.statistics import ratio, spread

NUMBER = 3
NAME = "store"
TITLE = "The snapshot store: memory, disk, and how much of it"

# Mode and store as `snapfaas bench restore` names them, and what a reader calls the pair.
WAYS = {("copy", "memory"): "copy, memory", ("mmap", "memory"): "mmap, memory",
        ("prefetch", "memory"): "prefetch, memory", ("primed", "memory"): "primed, memory",
        ("disk", "disk-warm"): "mmap, disk, cached", ("disk-prefetch", "disk-warm"): "prefetch, disk, cached",
        ("disk", "disk-cold"): "mmap, disk, cold", ("disk-prefetch", "disk-cold"): "prefetch, disk, cold"}
LAYERS = ("base", "function")
ALL_SIZES = list(range(128, 3072 + 1, 128))
GB = 1e9


def measure(run):
    run.need_runtimes("python3")
    app, event = run.root / "examples" / "lorem-python", '{"n":3}'
    modes = run.pick(None, None, "mmap,disk")
    report = run.bench("restore", "--runtime", "python3", "--app", app, "--event", event, "--memory", 128,
                       "--modes", modes or ",".join(dict.fromkeys(mode for mode, _ in WAYS)),
                       "--runs", run.pick(7, 3, 2), "--boots", 1)
    keep = ("mode", "store", "layer", "ready_ms", "response_ms")
    restores = [{key: sample[key] for key in keep} for sample in report["samples"]]
    return {"restores": restores, "languages": sizes_by_language(run)}


def sizes_by_language(run):
    """Bytes of base snapshots: {language: {MiB: bytes}}."""
    least = {runtime["name"]: runtime["min_memory_mib"] for runtime in runtimes_to_store(run)}
    for name, smallest in least.items():
        for size in run.pick((smallest, 3072), (smallest, 3072) if name == "python3" else (smallest,), (smallest,)):
            run.snapfaas("runtime", "snapshot", name, "--memory", size)
    return {name: run.snapshot_bytes(name) for name in least}


def runtimes_to_store(run):
    if run.scale == "full":
        run.snapfaas("runtime", "build", "--all")
    return json.loads(run.snapfaas("runtime", "ls", "--json"))


def restores_of(samples, what):
    return {(one["mode"], one["store"], one["layer"]): spread(one[what], f"{one['mode']}, {one['store']}, {what}")
            for one in samples["restores"]}


def total_bytes(by_size):
    """Of all sizes from the language's least on: those that were measured, the others on the line between them."""
    known = sorted((int(size), count) for size, count in by_size.items())
    if not known:
        raise Failed("a language has no base snapshot")
    total = 0
    for size in ALL_SIZES:
        if size < known[0][0]:
            continue
        below = max(pair for pair in known if pair[0] <= size)
        above = min((pair for pair in known if pair[0] >= size), default=None)
        if above is None:
            return None
        share = 0 if above[0] == below[0] else (size - below[0]) / (above[0] - below[0])
        total += below[1] + share * (above[1] - below[1])
    return total


def render(samples, report):
    ready, response = restores_of(samples, "ready_ms"), restores_of(samples, "response_ms")
    languages = samples["languages"]
    totals = {name: total_bytes(by_size) for name, by_size in sorted(languages.items())}
    report.paragraph("""`examples/lorem-python`, 128 MiB, one vCPU. *Cached*: the files are in the host's page cache;
        *cold*: they were dropped from it before each run. The store's size is the memory that the snapshots hold; the
        state of devices adds some KB to each, and one that was restored from disk keeps its working set's pages side
        by side as well.""")
    claims = []
    memory, cold = ready.get(("prefetch", "memory", "base")), ready.get(("disk-prefetch", "disk-cold", "base"))
    plain_cold, plain = ready.get(("disk", "disk-cold", "base")), ready.get(("mmap", "memory", "base"))
    if plain and plain_cold:
        claims.append(Claim("memory faster than cold disk, mmap, ready", "×", 2,
                            ratio(plain_cold.median, plain.median, "mmap"), better="higher"))
    if memory and cold:
        claims.append(Claim("memory faster than cold disk, prefetch, ready", "×", 2,
                            ratio(cold.median, memory.median, "prefetch"), better="higher"))
    if totals.get("python3"):
        claims.append(Claim("all Python snapshots, 128 to 3072 MiB", "GB", 1.5, totals["python3"] / GB, digits=2))
    if len(totals) >= 10 and all(totals.values()):
        claims.append(Claim("all snapshots of ten languages", "GB", 15, sum(totals.values()) / GB, digits=2))
    report.compare(claims, """its disk is a file system of the machine, reached over 9p: a page that is not cached
        costs about a millisecond, and what is dropped there may still be in the machine's own cache. On hardware with
        an SSD the distance between disk and memory is smaller for a mapping, and about this for what is read in one
        go.""")
    draw(ready, response, languages, report)
    rows = [[name, *(f"{times[(*way, layer)]}" if (*way, layer) in times else "–" for layer in LAYERS
                     for times in (ready, response))] for way, name in WAYS.items()]
    runs = next(iter(ready.values())).count
    report.table(["way", "language snapshot: ready", "first answer", "function snapshot: ready", "first answer"], rows,
                 f"Ways and stores side by side, ms: medians of {runs} runs (MAD)")
    sizes = sorted({int(size) for name in languages if name != "python3" for size in languages[name]})
    rows = [[name, *(table.number(by_size[str(size)] / 1e6) if str(size) in by_size else "–" for size in sizes),
             "–" if totals[name] is None else table.number(totals[name] / GB, 2)]
            for name, by_size in sorted(languages.items())]
    report.table(["language", *(f"{size} MiB, MB" for size in sizes), "all sizes, GB"], rows,
                 "Base snapshots. All sizes: every 128 MiB from the language's least to 3072; those that were "
                 "not taken are on the line between those that were")


def draw(ready, response, languages, report):
    from lab import plot

    made, (times, sizes) = plot.figure(panels=2, width=13, height=4.4)
    ways = [way for way in WAYS if (*way, "base") in ready]
    labels = [WAYS[way].replace(", ", ",\n") for way in ways]
    plot.bars(times, labels, [("language snapshot, ready", [ready[(*way, "base")] for way in ways]),
                              ("function snapshot, first answer", [response.get((*way, "function")) for way in ways])])
    times.tick_params(axis="x", labelsize=7)
    plot.log_axis(times.yaxis)
    plot.label(times, "Where a snapshot comes from", "", "ms (median, MAD), logarithmic")
    for place, (name, by_size) in enumerate(sorted(languages.items())):
        known = sorted((int(size), count / 1e6) for size, count in by_size.items())
        plot.plain_line(sizes, [size for size, _ in known], [count for _, count in known], name, place,
                        "-" if place < 8 else "--")
    sizes.set_ylim(bottom=0)
    sizes.margins(x=0.05)
    plot.label(sizes, "Base snapshots", "memory of the microVM, MiB", "MB")
    report.figure("", made, "Bars: time to restore from memory and from disk. Lines: bytes of the store by language")
