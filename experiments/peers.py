"""QEMU's microvm machine, and Firecracker where there is one, with the same guest beside ours, in the same run."""

import json

from lab import table
from lab.report import Claim
from lab.run import Failed, data_folder
from lab.statistics import ratio, spread
from peer import images

NUMBER = 8
NAME = "peers"
TITLE = "Beside other virtual machine monitors"

RUNTIME = "python3"
MEMORY_MIB = 128
# What is to be shown: a restored function of ours answers so many times sooner than QEMU's.
WANTED = 5
OURS = {"primed": "primed, as a node does it", "mmap": "memory mapped privately, nothing ahead"}
PEERS = {"qemu": "QEMU microvm", "firecracker": "Firecracker"}
PEERS_WAYS = {"waiting_ms": "by a process that waited", "restore_ms": "by a process started for it"}


def measure(run):
    run.need_runtimes(RUNTIME)
    app, event = run.contract_app(RUNTIME)
    boots, restores = run.pick((4, 12), (1, 4), (1, 1))
    plan = {**prepare(run, app), "event": event, "memory_mib": MEMORY_MIB, "boots": boots, "restores": restores}
    # Ours before and after theirs, so that a machine that is slower for a while is so for both.
    before = measure_ours(run, app, event, (boots + 1) // 2, (restores + 1) // 2)
    peers = measure_peers(run, plan)
    after = measure_ours(run, app, event, (boots + 1) // 2, (restores + 1) // 2)
    return {"ours": {way: before[way] + after[way] for way in before}, **peers}


def measure_ours(run, app, event, boots, restores):
    report = run.bench("restore", "--runtime", RUNTIME, "--app", app, "--event", event, "--memory", MEMORY_MIB,
                       "--modes", ",".join(OURS), "--layers", "function", "--runs", restores, "--boots", boots,
                       "--no-cold")
    return {"boot_ms": report["boot"]["response_ms"],
            **{sample["mode"]: sample["response_ms"] for sample in report["samples"]}}


def prepare(run, app):
    """The very files that our microVMs boot from, and what each peer needs beside them."""
    run.folder.mkdir(parents=True, exist_ok=True)
    runtime = images.Runtime(data_folder(), RUNTIME)
    cmdline = json.loads(run.snapfaas("run", "--boot", "--runtime", RUNTIME, "--memory", MEMORY_MIB, "--app",
                                      run.root / "experiments/peer/command_line", text="{}\n"))
    plan = {"images": {"kernel": str(runtime.kernel), "rootfs": str(runtime.rootfs),
                       "appfs": str(images.function_image(run, runtime, app, run.folder))}}
    for peer in ["qemu"] + (["firecracker"] if run.firecracker else []):
        plan[peer] = {"initramfs": str(images.initramfs(run, runtime, peer, run.folder)),
                      "cmdline": f"{cmdline} rdinit=/{images.RDINIT[peer]}"}
    if run.firecracker:
        plan["firecracker"]["program"] = str(run.firecracker)
    return plan


def measure_peers(run, plan):
    """Where our own microVMs were measured too: there KVM is usable."""
    asked, answered = run.folder / "plan.json", run.folder / "peers.json"
    asked.write_text(json.dumps(plan, indent=1) + "\n")
    answered.unlink(missing_ok=True)
    run.snapfaas("host", "exec", "--share", run.folder, "--", "/usr/bin/python3",
                 run.root / "experiments/peer/inside.py", asked, answered)
    if not answered.exists():
        raise Failed("the peers were measured, but their results are missing")
    return json.loads(answered.read_text())


def render(samples, report):
    ours = samples["ours"]
    there = [peer for peer in PEERS if peer in samples]
    describe(samples, there, report)
    boot = spread(ours["boot_ms"], "boot")
    restored = {mode: spread(ours[mode], f"restore, {mode}") for mode in OURS}
    rows = [["SnapFaaS", "boot", f"{boot}"],
            *(["SnapFaaS", f"restore, {name}", f"{restored[mode]}"] for mode, name in OURS.items())]
    claims = []
    for peer in there:
        for way, name, own in (("boot_ms", "boot", boot),
                               *((way, f"restore, {name}", restored["primed"]) for way, name in PEERS_WAYS.items())):
            if way not in samples[peer]:
                rows.append([PEERS[peer], name, "failed"])
                continue
            theirs = spread(samples[peer][way], f"{PEERS[peer]}, {name}")
            rows.append([PEERS[peer], name, f"{theirs}"])
            claims.append(Claim(f"{PEERS[peer]}, {name} ÷ ours, to the first answer", "×", None,
                                ratio(theirs.median, own.median, name), better="higher"))
    report.compare(claims, """a page fault, an exit and a process cost each of them ten to fifty times what they do on
        hardware.""")
    report.paragraph(f"""These are ratios of a peer's time to ours, and ours is a primed restore there. What is wanted
        of a restore is {WANTED} at least.""")
    counts = f"{boot.count} boots and {restored['primed'].count} restores"
    report.table(["machine", "way", "first answer"], rows,
                 f"To the first answer: ms, medians of {counts} (MAD)", left=2)
    saved = [(PEERS[peer], samples[peer]["saved"]) for peer in there if "saved" in samples[peer]]
    if saved:
        report.table(["machine", "memory, MiB", "state, MiB"],
                     [[name, table.number(sizes["memory_bytes"] / 2**20), table.number(sizes["state_bytes"] / 2**20, 2)]
                      for name, sizes in saved], "What a peer keeps of a saved machine, holes left out")


def describe(samples, there, report):
    report.paragraph(f"""The same Linux, command line, root file system and function ({RUNTIME}, {MEMORY_MIB} MiB, one
        vCPU, no network) on the same KVM, one machine after the other. The peers' programs, libraries and images lie in
        memory, as ours do.""")
    report.paragraph("""*First answer*: of a boot, from the launch of the process; of a restore, from the request's
        arrival. A peer is saved behind a first answer, so its function is loaded and warm, and its memory is a file in
        memory that is mapped privately. *A process that waited* was started ahead of the request and only loads the
        state; our shells wait too. Ours is a function snapshot, taken before the function's first request.""")
    if "qemu" in there:
        report.paragraph(f"""{samples['qemu']['version']}: the microvm machine with virtio-mmio, no option ROMs and no
            timers of old, and virtio-blk disks in the place of our persistent memory. A program that runs before the
            guest's init gives the disks its names; no guest program is another. What is saved is what QEMU migrates,
            with memory left out (`x-ignore-shared`).""")
    if "firecracker" in there:
        report.paragraph(f"""{samples['firecracker']['version']}: driven by its API; requests over vsock, since it has
            no virtio-console, for which its guest has another init and another agent than ours.""")
    for peer in there:
        if "restore_failed" in samples[peer]:
            report.paragraph(f"{PEERS[peer]} was not restored: {samples[peer]['restore_failed']}")
