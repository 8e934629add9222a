"""What share of the CPU time that it asked for the emulated host got, over time, and how fast that made it. Other
programs on the machine take theirs from it, and all that is measured in it takes longer."""

import bisect
import contextlib
import copy
import pathlib
import threading
import time

EVERY_SECONDS = 0.05
# With less than this to do in a window, the host says nothing about the share that it would have got.
LEAST_MS = 3
# What timers, those of the emulated host and of the microVM in it, take of its CPU while it works, however slow it is:
# only the rest of its share gets on with the work. Warm requests that took 16 ms at a share of 0.9 took 42 at 0.46 and
# 73 at 0.33.
TIMERS = 0.2
LEAST_SPEED = 0.01
TIMES = ("latency_ms", "response_ms", "queued_ms", "restore_ms", "load_ms", "run_ms", "total_ms")


class Shares:
    """`windows`: (unix time of the end, ms on a CPU, ms waiting for one), one after the other."""

    def __init__(self, windows):
        self.windows = [tuple(window) for window in windows]
        self._ends = [window[0] for window in self.windows]

    def between(self, begin, end):
        """From one unix time to another; 1 where nothing was asked for."""
        first = bisect.bisect_right(self._ends, begin)
        last = bisect.bisect_left(self._ends, end)
        return share_of(self.windows[first:last + 1])

    def speed_between(self, begin, end):
        return speed_of(self.between(begin, end))

    def speeds(self, began):
        """[[seconds from `began` on, speed], ...], as `snapfaas simulate --speeds` takes them."""
        speeds, speed = [], 1.0
        for before, window in zip(self.windows, self.windows[1:]):
            if window[1] + window[2] >= LEAST_MS:
                speed = speed_of(share_of([window]))
            if window[0] >= began:
                speeds.append([round(max(before[0] - began, 0.0), 3), round(speed, 4)])
        return speeds


def share_of(windows):
    got, waited = sum(window[1] for window in windows), sum(window[2] for window in windows)
    return got / (got + waited) if got + waited > 0 else 1.0


def speed_of(share):
    """Of the emulated host's CPU, against that of one that it has for itself."""
    return max((share - TIMERS) / (1 - TIMERS), LEAST_SPEED)


def undisturbed(report, shares):
    """Results of `snapfaas bench load` as they were if the emulated host had had the CPU for itself: requests that met
    no other take as much less as the host was slower during them."""
    made = copy.deepcopy(report)
    began = {run["name"]: run["began_unix"] for run in made["runs"]}
    columns = made["sample_columns"]
    places = [columns.index(name) for name in TIMES]
    run_of, due_of, latency_of = columns.index("run"), columns.index("due_ms"), columns.index("latency_ms")
    for row in made["samples"]:
        at = began[row[run_of]] + row[due_of] / 1000
        speed = shares.speed_between(at, at + row[latency_of] / 1000)
        for place in places:
            row[place] = round(row[place] * speed, 3)
    for run in made["runs"]:
        counts = run.get("counts", {})
        if "shells_starting_ms" in counts:
            speed = shares.speed_between(run["began_unix"], run["began_unix"] + run["last_answer_seconds"])
            counts["shells_starting_ms"] = round(counts["shells_starting_ms"] * speed)
    return made


@contextlib.contextmanager
def watched(pid):
    """Gives a list; when it ends, the list holds the windows of the process's busiest thread, which is its CPU's."""
    windows, by_thread, stop = [], {}, threading.Event()

    def watch():
        while True:
            for thread in pathlib.Path(f"/proc/{pid}/task").glob("*"):
                # One that has ended meanwhile, or a kernel that does not count this.
                with contextlib.suppress(OSError, ValueError):
                    on_cpu, waiting, _ = (thread / "schedstat").read_text().split()
                    by_thread.setdefault(thread.name, []).append((time.time(), int(on_cpu), int(waiting)))
            if stop.wait(EVERY_SECONDS):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield windows
    finally:
        stop.set()
        watcher.join()
        busiest = max(by_thread.values(), key=lambda seen: seen[-1][1] - seen[0][1], default=[])
        windows += [(round(now[0], 3), (now[1] - then[1]) / 1e6, (now[2] - then[2]) / 1e6)
                    for then, now in zip(busiest, busiest[1:])]
