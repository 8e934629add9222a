"""Restoring on demand: which pages requests touch, how many of them recur, and what bringing them in ahead saves."""

from lab import table
from lab.report import Claim
from lab.statistics import ratio, spread

NUMBER = 5
NAME = "on-demand"
TITLE = "Restoring on demand"

# More words, and other ones.
INPUTS = ['{"n":3}', '{"n":300}', '{"n":3,"seed":7}']
MODES = {"mmap": "on demand (mmap)", "prefetch": "prefetched", "primed": "prefetched before the request (primed)"}
LAYERS = {"base": "language snapshot", "function": "function snapshot"}


def measure(run):
    run.need_runtimes("python3")
    first, *others = INPUTS[:run.pick(3, 3, 2)]
    report = run.bench("working-set", "--runtime", "python3", "--app", run.root / "examples" / "lorem-python",
                       "--event", first, *(word for other in others for word in ("--other-event", other)),
                       "--runs", run.pick(6, 3, 1))
    return {"events": report["events"], "layers": report["layers"]}


def runs_of(layer, mode):
    return [run for run in layer["runs"] if run["mode"] == mode]


def of_mode(layer, mode, what):
    return spread([run[what] for run in runs_of(layer, mode)], f"{layer['layer']}, {mode}, {what}")


def recurrences(layer):
    """(same input, other input): shares of a run's pages that an earlier run touched too, in percent."""
    recorded = runs_of(layer, "mmap")
    same, other = [], []
    for run in recorded:
        for earlier, share in zip(recorded, run["recurrence"]):
            (same if earlier["input"] == run["input"] else other).append(100 * share)
    return same, other


def render(samples, report):
    layers = {layer["layer"]: layer for layer in samples["layers"]}
    report.paragraph(f"""`examples/lorem-python`, 128 MiB, one vCPU, with {len(samples['events'])} inputs. *On demand*
        maps the snapshot and takes each page when it is touched; *prefetched* brings in what an earlier first request
        touched. *Faults* are those of the VMM from the request's arrival to the answer: KVM's on behalf of the guest,
        and those by which a prefetch copies pages ahead, one each; a primed VMM has them before the request. Pages
        that were read count with the neighbours that the host maps along with them.""")
    claims = []
    for name, layer in layers.items():
        same, other = recurrences(layer)
        for which, shares in (("the same", same), ("another", other)):
            if shares:
                claims.append(Claim(f"pages that recur with {which} input, {LAYERS[name]}", "%", None,
                                    spread(shares, "recurrence")))
        for what, parts in (("touched", ("read_pages", "written_pages")), ("written", ("written_pages",))):
            pages = spread([sum(run[part] for part in parts) for run in runs_of(layer, "mmap")], f"{name}, {what}")
            claims.append(Claim(f"pages {what} ÷ pages stored, {LAYERS[name]}", "%", None,
                                100 * ratio(pages.median, stored_pages(layers, name), "stored pages")))
        claims.append(Claim(f"on demand ÷ prefetched, first answer, {LAYERS[name]}", "×", None,
                            ratio(of_mode(layer, "mmap", "response_ms").median,
                                  of_mode(layer, "prefetch", "response_ms").median, name), digits=2))
    report.compare(claims, """a page fault of a guest costs it 30 to 60 µs instead of about 1, so that prefetching
        gains more than it would on hardware. The counts of pages and faults do not depend on it. On-demand
        restoration was the poster's further work, without figures; REAP (ASPLOS '21) reports 97 % of pages recurring
        and 3.7 times less time by prefetching them.""")
    draw(layers, report)
    rows = [[LAYERS[name], MODES[mode], *(f"{of_mode(layer, mode, what)}" for what in ("ready_ms", "response_ms")),
             f"{of_mode(layer, mode, 'faults'):,.0f}",
             *(f"{of_mode(layer, mode, what):,.0f}" if mode == "mmap" else "–"
               for what in ("read_pages", "written_pages"))]
            for name, layer in layers.items() for mode in MODES]
    report.table(["snapshot", "way", "ready, ms", "first answer, ms", "faults", "pages read", "pages written"], rows,
                 f"Medians (MAD) of {len(runs_of(next(iter(layers.values())), 'mmap'))} runs", left=2)
    rows = []
    for name, layer in layers.items():
        for which, shares in zip(("the same", "another"), recurrences(layer)):
            if shares:
                seen = spread(shares, "recurrence")
                rows.append([LAYERS[name], which, f"{seen}", table.number(seen.low), table.number(len(shares))])
    report.table(["snapshot", "input", "recurring pages, %", "least, %", "pairs of runs"], rows,
                 "Share of the pages of a first request that an earlier run's first request had touched too", left=2)


def stored_pages(layers, name):
    """A function snapshot stands on its base: both hold pages."""
    return layers[name]["stored_pages"] + (layers["base"]["stored_pages"] if name == "function" else 0)


def draw(layers, report):
    from lab import plot

    made, (times, faults) = plot.figure(panels=2, width=12)
    labels = [LAYERS[name] for name in layers]
    for axes, what in ((times, "response_ms"), (faults, "faults")):
        plot.bars(axes, labels, [(text, [of_mode(layer, mode, what) for layer in layers.values()])
                                 for mode, text in MODES.items()], "{:,.0f}")
    plot.label(times, "Time to the first answer", "", "ms (median, MAD)", legend=False)
    plot.label(faults, "Page faults to the first answer", "", "faults (median, MAD)")
    report.figure("", made, "Bars: time and page faults of restores on demand, prefetched and primed")
