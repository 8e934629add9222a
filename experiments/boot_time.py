"""Where the time of a boot goes, phase by phase, and of a restore."""

from lab import table
from lab.report import Claim
from lab.statistics import median, spread

NUMBER = 1
NAME = "boot-time"
TITLE = "Where boot time goes"

LANGUAGES = {"python3": "Python", "nodejs": "Node.js", "native": "C++"}
# Poster: Python 2, Node.js and C initialised by booting; Python restored by copying.
POSTER_BOOT = {"python3": 296, "nodejs": 390, "native": 262}
POSTER_RESTORE = {"python3": 50}

BOOT_PHASES = {"vmm": "VMM set-up", "kernel": "kernel", "init": "init", "runtime": "language runtime",
               "load": "function load", "request": "first request"}
RESTORE_PHASES = {"vmm": "VMM set-up", "memory": "memory and state", "identity": "identity", "mount": "appfs mount",
                  "load": "function load", "request": "first request"}
WAYS = {"boot_ms": ("boot", BOOT_PHASES), "restore_ms": ("restore, primed", RESTORE_PHASES),
        "restore_copy_ms": ("restore, copy", RESTORE_PHASES)}


def measure(run):
    runtimes = run.pick(list(LANGUAGES), ["python3", "native"], ["python3"])
    boots, restores = run.pick((4, 12), (1, 4), (1, 3))
    run.need_runtimes(*runtimes)
    reports = {}
    for runtime in runtimes:
        app, event = run.contract_app(runtime)
        reports[runtime] = run.bench("breakdown", "--runtime", runtime, "--app", app, "--event", event,
                                     "--boots", boots, "--restores", restores)
    return {runtime: {"memory_mib": report["memory_mib"], "dirty_mib": report["dirty_mib"], **report["samples"]}
            for runtime, report in reports.items()}


def ready(samples, runtime, way):
    return spread(samples[runtime][way]["ready"], f"{runtime}, {way}, ready")


def render(samples, report):
    report.paragraph("""From the moment a microVM is asked for to its language runtime able to load a function
        (*ready*), and on to the first answer. A restore takes a VMM from the pool; *primed*, as a node does it, has
        the base snapshot in place already, *copy* is the poster's way.""")
    claims = []
    for runtime in samples:
        name = LANGUAGES[runtime]
        claims.append(Claim(f"{name}: boot to ready", "ms", POSTER_BOOT.get(runtime),
                            ready(samples, runtime, "boot_ms")))
    for runtime in samples:
        name = LANGUAGES[runtime]
        boot = ready(samples, runtime, "boot_ms").median
        poster = POSTER_RESTORE.get(runtime)
        for way in ("restore_copy_ms", "restore_ms"):
            restored = ready(samples, runtime, way)
            claims.append(Claim(f"{name}: {WAYS[way][0]} to ready", "ms", poster, restored))
            claims.append(Claim(f"{name}: boot ÷ {WAYS[way][0]}", "×", poster and POSTER_BOOT[runtime] / poster,
                                boot / restored.median, better="higher"))
    report.compare(claims, """every guest instruction is emulated, so a boot, which is instructions, takes ten to
        twenty times what it does on hardware; a restore is mostly page faults and system calls, which suffer as much
        or more. The ratio of the two is the figure that carries over.""")
    draw(samples, report)
    for way, (name, phases) in WAYS.items():
        rows = [[LANGUAGES[runtime], *(f"{spread(samples[runtime][way][phase], f'{runtime}, {phase}')}"
                                       for phase in [*phases, "ready", "response"])] for runtime in samples]
        runs = len(samples[next(iter(samples))][way]["ready"])
        counted = "one run" if runs == 1 else f"medians of {runs} runs (MAD)"
        report.table(["language", *phases.values(), "= ready", "= first answer"], rows,
                     f"{name.capitalize()}: ms, {counted}. Ready has neither load nor request")
    report.table(["language", "memory, MiB", "dirty at the snapshot, MiB"],
                 [[LANGUAGES[runtime], samples[runtime]["memory_mib"], table.number(samples[runtime]["dirty_mib"])]
                  for runtime in samples],
                 "Dirty memory: what a base snapshot holds (poster: 37 MB Python, 40 MB Node.js)")


def medians(samples, way, phase):
    return [median(samples[runtime][way][phase], f"{runtime}, {way}, {phase}") for runtime in samples]


def draw(samples, report):
    from lab import plot

    made, (boots, restores) = plot.figure(panels=2, width=12)
    names = [LANGUAGES[runtime] for runtime in samples]
    labels = [*names, *(f"{name},\nrestored" for name in names)]
    answered = [sum(column) for column in
                zip(*(medians(samples, "restore_ms", phase) for phase in RESTORE_PHASES))]
    plot.stacked_bars(boots, labels, [
        *((name, [*medians(samples, "boot_ms", phase), *[0] * len(names)]) for phase, name in BOOT_PHASES.items()),
        ("restored, all of it", [*[0] * len(names), *answered])])
    boots.tick_params(axis="x", labelsize=8)
    plot.label(boots, "Boots, and the same restored", "", "ms to the first answer (median)")
    plot.stacked_bars(restores, names, [(name, medians(samples, "restore_ms", phase))
                                        for phase, name in RESTORE_PHASES.items()], "{:,.1f}")
    plot.label(restores, "The restored microVMs, magnified", "", "ms to the first answer (median)")
    report.figure("", made, "Stacked bars: time of a boot and of a restore by phase, for each language")
