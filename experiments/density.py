"""Memory of idle microVMs as their number grows: what they share and what each has of its own."""

from lab import table
from lab.report import Claim
from lab.statistics import ratio

NUMBER = 6
NAME = "density"
TITLE = "Density"

MODES = {"copy": "copy, as the poster", "prefetch": "prefetch", "primed": "primed"}
LAYERS = {"base": "language snapshot", "function": "function snapshot"}


MB_OF_MIB = 1.048576
SHOWN = ("pss_kib", "private_kib", "anonymous_kib", "machine_kib")


def measure(run):
    run.need_runtimes("python3")
    counts = run.pick([1, 2, 5, 10, 20, 50, 100, 200], [1, 5, 10], [1, 2])
    # A copy has all pages of its own: a few show that.
    plan = [("copy", "base", run.pick(20, 5, 2))]
    # To the full number as a node does it.
    plan += [(mode, layer, 200 if (mode, layer) == ("primed", "function") else 50)
             for mode in run.pick(("prefetch", "primed"), ("prefetch", "primed"), ("prefetch",)) for layer in LAYERS]
    samples = []
    for mode, layer, most in plan:
        numbers = [count for count in counts if count <= most]
        report = run.bench("density", "--runtime", "python3", "--app", run.root / "examples" / "lorem-python",
                           "--event", '{"n":3}', "--modes", mode, "--layers", layer,
                           "--counts", ",".join(map(str, numbers)))
        samples += report["samples"]
    return {"memory_mib": report["memory_mib"], "samples": samples}


def name_of(sample):
    return f"{MODES[sample['mode']]}, {LAYERS[sample['layer']]}"


def one_more_mib(sample, what="pss_kib"):
    """What each microVM but the first few adds."""
    points = sample["points"]
    if len(points) < 2:
        return points[0][what] / points[0]["microvms"] / 1024
    first, last = points[len(points) // 2 - 1], points[-1]
    return (last[what] - first[what]) / (last["microvms"] - first["microvms"]) / 1024


def per_vm(point, what):
    return point[what] / point["microvms"] / 1024


def render(samples, report):
    all_samples = samples["samples"]
    report.paragraph(f"""Idle Python microVMs of {samples['memory_mib']} MiB (`examples/lorem-python`), restored one
        after another; each has answered a request. *PSS*: the VMMs' memory, with what is shared counted in part for
        each; *private*: what one VMM alone has mapped; *machine*: how much less memory the machine has available for
        each, the kernel's and KVM's own included.""")
    claims = [Claim(f"one more microVM: {name_of(sample)}", "MB", 37, one_more_mib(sample) * MB_OF_MIB, digits=2)
              for sample in all_samples]
    claims += [Claim(f"idle microVMs in a GiB of the machine's memory: {name_of(sample)}", "", None,
                     ratio(1024, one_more_mib(sample, "machine_kib"), name_of(sample)), digits=0)
               for sample in all_samples if len(sample["points"]) > 2]
    copied = next((one_more_mib(sample) for sample in all_samples if sample["mode"] == "copy"), None)
    for sample in all_samples:
        if copied and sample["mode"] != "copy":
            claims.append(Claim(f"copied ÷ {name_of(sample)}", "×", None,
                                ratio(copied, one_more_mib(sample), name_of(sample))))
    report.compare(claims, """nothing: memory is counted in pages, as on hardware. The poster gives no density; its
        copy of a Python VM has 37 MB of dirty memory of its own, which stands there as its figure. The machine holds
        3 GiB.""")
    draw(all_samples, report)
    rows = [[name_of(sample), str(point["microvms"]),
             *(table.number(per_vm(point, what), 2) for what in SHOWN)]
            for sample in all_samples for point in sample["points"]]
    report.table(["microVMs", "number", "PSS", "private", "anonymous", "machine"], rows, "MiB for each microVM")
    full = [f"{name_of(sample)} ({sample['points'][-1]['microvms']})" for sample in all_samples
            if sample["machine_is_full"]]
    if full:
        report.paragraph(f"The machine held no more than the last number of: {', '.join(full)}.")


def draw(all_samples, report):
    from lab import plot

    made, (each, machine) = plot.figure(panels=2, width=12)
    for place, sample in enumerate(all_samples):
        numbers = [point["microvms"] for point in sample["points"]]
        plot.plain_line(each, numbers, [per_vm(point, "pss_kib") for point in sample["points"]], name_of(sample), place)
        plot.plain_line(machine, numbers, [point["machine_kib"] / 1024 for point in sample["points"]],
                        name_of(sample), place)
    plot.log_axis(each.xaxis, sorted({point["microvms"] for sample in all_samples for point in sample["points"]}))
    plot.log_axis(each.yaxis)
    plot.label(each, "For each microVM, shared parts divided", "idle microVMs, logarithmic", "PSS, MiB, logarithmic",
               legend=False)
    plot.label(machine, "All of them, on the machine", "idle microVMs", "memory no longer available, MiB")
    report.figure("", made, "Lines: memory of each microVM, and of all, over their number")
