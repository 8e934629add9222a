"""Run: what an experiment measures with, and where its raw samples go."""

import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import time

SCALES = ("full", "quick", "smoke")
COMMAND_SECONDS = 1800


def data_folder(environment=None):
    """Where runtimes are: as docs/architecture.md says it."""
    environment = os.environ if environment is None else environment
    if environment.get("SNAPFAAS_DATA"):
        return pathlib.Path(environment["SNAPFAAS_DATA"])
    home = environment.get("XDG_DATA_HOME") or os.path.join(environment.get("HOME", "/"), ".local/share")
    return pathlib.Path(home) / "snapfaas"


class Failed(Exception):
    """An experiment cannot go on; the text says why."""


class Run:
    """One run of one experiment. `scale` is "full" (the published figures), "quick" or "smoke" (the tests)."""

    def __init__(self, root, snapfaas, scale, folder, firecracker=None, built=None):
        self.root = pathlib.Path(root)
        self.scale = scale
        self.folder = pathlib.Path(folder)  # for files of the experiment's own; kept
        self.firecracker = firecracker  # a binary that the user has brought
        self.commands = []  # as they can be typed at the project's root
        self.host = {}  # of the measuring commands: where their microVMs ran
        self.accelerator = ""
        self.guest_kernels = {}  # by runtime
        # The same of all runtimes that are known to be built; runs of one command share it.
        self._built = {} if built is None else built
        self.program = str(snapfaas)

    def pick(self, full, quick, smoke):
        """What this scale is to do."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.scale]

    def snapfaas(self, *words, environment=None, text=None):
        """Runs `snapfaas WORDS...` and returns what it prints. `text` is what it reads. Failed when it fails."""
        return self.command(self.program, *words, environment=environment, text=text)

    def command(self, *words, environment=None, text=None):
        """As `snapfaas`, of any program."""
        words = [str(word) for word in words]
        shown = self._note(words)
        print(f"    {shown}", flush=True)
        # What a command says of its progress would bury everything else.
        done = subprocess.run(words, cwd=self.root, capture_output=True, text=True, input=text or "",
                              timeout=COMMAND_SECONDS, env={**os.environ, **(environment or {})})
        if done.returncode != 0:
            raise Failed(f"exit code {done.returncode} of {shown}\n{last_lines(done.stderr or done.stdout)}")
        return done.stdout

    def bench(self, *words):
        """Runs `snapfaas bench WORDS... --json FILE` and returns what the file holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Under the project, so that the emulated host sees it too.
        path = self.folder / "bench.json"
        path.unlink(missing_ok=True)
        self.snapfaas("bench", *words, "--json", path)
        report = json.loads(path.read_text())
        path.unlink()
        first = report["runtimes"][0] if "runtimes" in report else report
        self.ran_on(first["host"], first["accelerator"])
        return report

    def ran_on(self, host, accelerator):
        """Says where microVMs ran: `host` has cpu, cpus and kernel. bench() does it by itself."""
        self.host, self.accelerator = host, accelerator

    def need_runtimes(self, *names):
        """Builds those that are not built yet."""
        if set(names) <= set(self._built):
            self._note([self.program, "runtime", "build", *names])
        else:
            self.snapfaas("runtime", "build", *names)
            for runtime in json.loads(self.snapfaas("runtime", "ls", "--json")):
                self._built[runtime["name"]] = runtime["kernel"]
        self.guest_kernels.update({name: self._built[name] for name in names})

    def snapshot_bytes(self, runtime):
        """What the base snapshots of a runtime with one vCPU hold: {MiB: bytes}, by size."""
        listed = json.loads(self.snapfaas("runtime", "snapshots", "--json"))
        found = {}
        for entry in listed:
            size = re.fullmatch(re.escape(runtime) + r"-(\d+)mib-1vcpu", entry["folder"])
            if size and entry["usable"]:
                found[int(size[1])] = round(entry["stored_mib"] * 1024 * 1024)
        # As JSON has them, whose keys are text.
        return {str(size): found[size] for size in sorted(found)}

    def contract_app(self, runtime):
        """The folder of one and the same small function in each language, and an event for it."""
        folder = self.root / "tests" / "contract" / runtime / "main"
        if (folder / "build.sh").exists():
            made = self.folder / f"app-{runtime}"
            made.mkdir(parents=True, exist_ok=True)
            self.command("sh", folder / "build.sh", made)
            folder = made
        return folder, '{"case":"echo","value":1}'

    def _note(self, words):
        """Among the commands of this run; returns the text."""
        shown = shlex.join(self._shown(word) for word in words)
        if shown not in self.commands:
            self.commands.append(shown)
        return shown

    def _shown(self, word):
        if word == self.program:
            return "build/bin/snapfaas"
        # No place of this machine: who repeats it has others.
        return word.removeprefix(f"{self.root}/").replace(f"{data_folder()}/", "DATA/")


def last_lines(text, count=24):
    # A line that shows progress is written again and again.
    lines = [line.rsplit("\r", 1)[-1] for line in text.strip().split("\n")]
    return "\n".join(lines[-count:])


def commit_of(root):
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], check=True, capture_output=True, text=True)
        # What an experiment before it has rendered is no change of what is measured.
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no", "--", ":!docs/results"],
                                 check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" and changes" if changed.stdout.strip() else "")


def describe_machine():
    """The machine that all of it runs on, the emulated host too."""
    cpu = "unknown"
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(": ", 1)[1]
                break
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release()}


def measure(experiment, run):
    """What is kept of a run: the samples and all that tells where they come from."""
    began = time.monotonic()
    samples = experiment.measure(run)
    return {
        "experiment": experiment.NAME,
        "scale": run.scale,
        "commit": commit_of(run.root),
        "measured": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe_machine(),
        "host": run.host,
        "accelerator": run.accelerator,
        "guest_kernels": run.guest_kernels,
        "commands": run.commands,
        "samples": samples,
    }


def keep(kept, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(kept, indent=1) + "\n")
    temporary.replace(path)


def kept_samples(path):
    """What `keep` has written. Failed where there is nothing, or something else."""
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError:
        raise Failed(f"there are no samples in {path}: run it without --render first") from None
    except ValueError as error:
        raise Failed(f"{path} is no JSON ({error}): run it without --render again") from None
    if not isinstance(kept, dict) or "samples" not in kept or "commands" not in kept:
        raise Failed(f"{path} holds no samples of an experiment: run it without --render again")
    return kept


def say(text):
    print(f"==> {text}", file=sys.stdout, flush=True)
