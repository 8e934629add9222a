"""Whether size and place of a function's file system matter, and what mounting and importing cost."""

import shutil

from lab import table
from lab.report import Claim
from lab.statistics import ratio, spread

NUMBER = 4
NAME = "appfs"
TITLE = "The function's file system"

LAYERS = {"base": "language snapshot", "function": "function snapshot"}
PLACES = {"temporary": "with temporary files", "disk": "on the disk"}
MB = 1_000_000


def make_app(run, megabytes):
    """examples/lorem-python with a file that makes its image so large: nothing reads it, nothing compresses it."""
    folder = run.folder / f"app-{megabytes}mb"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run.root / "examples" / "lorem-python", folder)
    with (folder / "ballast").open("wb") as file:
        block = bytes((17 * index * index + 31 * index) % 251 for index in range(4093))
        for _ in range(megabytes * MB // len(block)):
            file.write(block)
    return folder


def measure(run):
    sizes = run.pick([1, 20, 200], [1, 50], [1])
    on_disk = run.pick([200], [], [])
    run.need_runtimes("python3")
    disk = run.folder / "images"
    disk.mkdir(parents=True, exist_ok=True)
    measured = []
    for megabytes in sizes:
        app = make_app(run, megabytes)
        for place in ["temporary"] + ["disk"] * (megabytes in on_disk):
            report = run.bench("restore", "--runtime", "python3", "--app", app, "--event", '{"n":3}', "--memory", 128,
                               "--modes", "prefetch,primed", "--runs", run.pick(6, 3, 1),
                               "--boots", run.pick(3, 1, 1), *(["--appfs-in", disk] if place == "disk" else []))
            measured.append({"megabytes": megabytes, "place": place, "boot_ready_ms": report["boot"]["ready_ms"],
                             "boot_response_ms": report["boot"]["response_ms"], "restores": report["samples"]})
        shutil.rmtree(app)
    return measured


def restore_of(one, mode, layer):
    return next(sample for sample in one["restores"] if (sample["mode"], sample["layer"]) == (mode, layer))


def phase(one, layer, name, mode="primed"):
    what = f"{one['megabytes']} MB {one['place']}, {mode}, {layer}, {name}"
    return spread(restore_of(one, mode, layer)["phase_samples_ms"][name], what)


def boot(one):
    return spread(one["boot_response_ms"], f"{one['megabytes']} MB {one['place']}, boot")


def render(samples, report):
    in_memory = [one for one in samples if one["place"] == "temporary"]
    small, large = in_memory[0], in_memory[-1]
    report.paragraph("""`examples/lorem-python` with a file that nothing reads, which makes the image as large as
        said; 128 MiB, one vCPU; restores by a primed VMM. The image lies with temporary files (in the emulated host:
        in memory) or on the disk. From a function snapshot there is nothing to mount or import: both are in it.""")
    mount, answered = phase(small, "base", "mount"), phase(small, "base", "response")
    claims = [Claim("mount of the appfs", "ms", 10, mount, digits=2),
              Claim("mount, of a restore to the first answer", "%", 20,
                    100 * ratio(mount.median, answered.median, "mount")),
              Claim("load: read and import the function", "ms", None, phase(small, "base", "load")),
              Claim("load from the function snapshot", "ms", None, phase(small, "function", "load"))]
    if large is not small:
        sizes = f"{large['megabytes']} ÷ {small['megabytes']} MB"
        stored = [restore_of(one, "primed", "function")["stored_bytes"] for one in (large, small)]
        claims += [Claim(f"boot to the first answer, {sizes}", "×", 1,
                         ratio(boot(large).median, boot(small).median, "boot"), digits=2),
                   Claim(f"restore to the first answer, {sizes}", "×", 1,
                         ratio(phase(large, "base", "response").median, answered.median, "restore"), digits=2),
                   Claim(f"function snapshot, {sizes}", "×", 1, ratio(*stored, "snapshot"), digits=2)]
    report.compare(claims, """a mount is a system call and a page fault or two, which are dear there; the file system
        of the machine's disk is reached over 9p. The poster says that size and place do not matter, which is 1 here.""")
    draw(in_memory, report)
    rows = []
    for one in samples:
        restores = [phase(one, layer, name) for layer in LAYERS for name in ("mount", "load", "response")]
        stored = [restore_of(one, "primed", layer)["stored_bytes"] / 2**20 for layer in LAYERS]
        rows.append([f"{one['megabytes']} MB {PLACES[one['place']]}", f"{boot(one):,.0f}",
                     *(f"{each:,.2f}" for each in restores), *(table.number(each, 2) for each in stored)])
    report.table(["appfs", "boot to answer", "language snapshot: mount", "load", "answer", "function snapshot: mount",
                  "load", "answer", "language snapshot, MiB", "function snapshot, MiB"], rows,
                 "Times in ms, medians (MAD); bytes stored of the snapshots")


def draw(in_memory, report):
    from lab import plot

    made, (times, parts) = plot.figure(panels=2, width=12)
    sizes = [one["megabytes"] for one in in_memory]
    plot.line(times, sizes, [boot(one) for one in in_memory], "boot", 0)
    for place, (layer, name) in enumerate(LAYERS.items()):
        plot.line(times, sizes, [phase(one, layer, "response") for one in in_memory], name, place + 1)
    plot.log_axis(times.yaxis)
    plot.label(times, "To the first answer", "size of the appfs, MB", "ms (median, MAD), logarithmic")
    names = {"vmm": "VMM", "memory": "memory and state", "identity": "identity", "mount": "mount", "load": "load",
             "request": "request"}
    plot.stacked_bars(parts, list(LAYERS.values()), [
        (name, [phase(in_memory[0], layer, key).median for layer in LAYERS])
        for key, name in names.items()], "{:,.1f}")
    plot.label(parts, f"Parts of a restore, {sizes[0]} MB", "", "ms (median)")
    report.figure("", made, "Lines: time to the first answer over the appfs's size. Bars: parts of a restore")
