"""QEMU's microvm machine, and Firecracker where there is one, with the same guest beside ours, in the same run."""

import json

from lab import table
from lab.report import Claim
from lab.run import Failed
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


def measure(run):
    run.need_runtimes(RUNTIME)
    app, event = run.contract_app(RUNTIME)
    boots, restores = run.pick((8, 20), (3, 7), (1, 1))
    plan = {**prepare(run, app), "event": event, "memory_mib": MEMORY_MIB, "boots": boots, "restores": restores}
    ours = run.bench("restore", "--runtime", RUNTIME, "--app", app, "--event", event, "--memory", MEMORY_MIB,
                     "--modes", ",".join(OURS), "--layers", "function", "--runs", restores, "--boots", boots,
                     "--no-cold")
    return {"ours": {"boot_ms": ours["boot"]["response_ms"],
                     **{sample["mode"]: sample["response_ms"] for sample in ours["samples"]}},
            **measure_peers(run, plan)}


def prepare(run, app):
    """The plan's images: the very files that our microVMs boot from, and what a peer needs beside them."""
    runtime = images.Runtime(images.data_folder(), RUNTIME)
    initramfs, appfs = images.prepare(run, runtime, app, run.folder)
    said = run.snapfaas("run", "--boot", "--runtime", RUNTIME, "--app", run.root / "experiments/peer/command_line",
                        "--memory", MEMORY_MIB, text="{}\n")
    return {"kernel": str(runtime.kernel), "initramfs": str(initramfs), "rootfs": str(runtime.rootfs),
            "appfs": str(appfs), "cmdline": f"{json.loads(said)} rdinit=/{images.RDINIT}"}


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
    ours, qemu = samples["ours"], samples["qemu"]
    report.paragraph(f"""The same Linux, root file system and function ({RUNTIME}, {MEMORY_MIB} MiB, one vCPU, no
        network) on the same KVM, one after the other. {qemu['version']} has its microvm machine with virtio-mmio, no
        option ROMs and none of the old timers; its images, its own program and its libraries lie in memory, as ours
        do. virtio-blk disks stand in for our persistent memory, and a program that runs before the guest's init names
        them so: the guest is not changed.""")
    report.paragraph("""*First answer*: of a boot, from the launch of the process; of a restore, from the request's
        arrival. QEMU's saved state is what it migrates (`x-ignore-shared`), taken behind a first answer, so the
        function is loaded and warm; its memory is a file in memory, mapped privately. *Waiting*: the process was
        started ahead of the request, with its devices made and its memory mapped, and only loads the state; our shells
        wait in the same way. Ours is a function snapshot, taken before the function's first request.""")
    boot = spread(ours["boot_ms"], "boot")
    peers_boot = spread(qemu["boot_ms"], "QEMU, boot")
    restored = {mode: spread(ours[mode], f"restore, {mode}") for mode in OURS}
    rows = [["SnapFaaS", "boot", f"{boot}"], ["QEMU microvm", "boot", f"{peers_boot}"],
            *(["SnapFaaS", f"restore, {name}", f"{restored[mode]}"] for mode, name in OURS.items())]
    claims = [Claim("QEMU microvm's boot ÷ ours, to the first answer", "×", None,
                    ratio(peers_boot.median, boot.median, "boot"), better="higher")]
    if "restore_failed" in qemu:
        rows.append(["QEMU microvm", "restore", "failed"])
        report.paragraph(f"QEMU's restore failed: {qemu['restore_failed']}")
    else:
        for key, name in (("waiting_ms", "a waiting process"), ("restore_ms", "a process started for it")):
            peers = spread(qemu[key], f"QEMU, {name}")
            rows.append(["QEMU microvm", f"restore, {name}", f"{peers}"])
            claims.append(Claim(f"QEMU microvm's restore by {name} ÷ ours, request to answer", "×", None,
                                ratio(peers.median, restored["primed"].median, "restore"), better="higher"))
    report.compare(claims, f"""a page fault, an exit and a process cost all of them ten to fifty times what they do on
        hardware. At least {WANTED} times is what we want of a restore.""")
    report.table(["machine", "way", "first answer"], rows,
                 f"To the first answer: ms, medians of {boot.count} boots and {restored['primed'].count} restores (MAD)",
                 left=2)
    if "saved" in qemu:
        report.table(["saved state of QEMU's", "MiB"],
                     [["memory, without holes", table.number(qemu["saved"]["memory_bytes"] / 2**20)],
                      ["devices and vCPU", table.number(qemu["saved"]["state_bytes"] / 2**20, 2)]],
                     "What QEMU keeps of a machine")
