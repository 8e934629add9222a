"""What an experiment's render() writes: a section of index.md with its tables, and its plots as files beside it."""

import dataclasses
import re
import textwrap

from lab import table
from lab.statistics import Spread, ratio


@dataclasses.dataclass(frozen=True)
class Claim:
    """A figure of the poster beside ours."""

    what: str
    unit: str
    poster: float | None  # None: it has no such figure
    ours: float | Spread
    better: str = "lower"  # or "higher": which way is better
    digits: int = 1

    def cells(self):
        middle = self.ours.median if isinstance(self.ours, Spread) else self.ours
        shown = (f"{self.ours:,.{self.digits}f}" if isinstance(self.ours, Spread)
                 else table.number(float(middle), self.digits))
        if self.poster is None:
            return [self.what, self.unit, "–", shown, "–"]
        pair = (self.poster, middle) if self.better == "lower" else (middle, self.poster)
        return [self.what, self.unit, table.number(self.poster), shown,
                table.significant(ratio(*pair, self.what)) + "×"]


class Report:
    """One section. The methods add to its text, in their order."""

    def __init__(self, kept, folder, title):
        self._kept = kept
        self._folder = folder
        self._name = kept["experiment"]
        self._text = [f"## {title}\n"]
        self.claims = []

    def paragraph(self, text):
        self._text.append(wrapped(text) + "\n")

    def compare(self, claims, emulated):
        """The table with the poster's figures. `emulated`: what the emulated host does to them."""
        self.claims += claims
        self._add_table(CLAIM_COLUMNS, [claim.cells() for claim in claims], 2, None)
        if self._kept["accelerator"] == "emulated-host":
            self.paragraph(f"What the emulated host does to it: {emulated}")

    def table(self, columns, rows, caption, command=None, left=1):
        """`command`: what measured it, as it was typed; else all commands of the experiment are in the section's
        foot. `left`: how many columns are text."""
        self._text.append(f"**{caption}**\n")
        self._add_table(columns, rows, left, command)

    def figure(self, suffix, made, alternative):
        """A figure of lab.plot, as NAME-suffix.svg and .png. `alternative`: what it shows, for who cannot see it."""
        from lab import plot  # here alone matplotlib is needed

        name = f"{self._name}-{suffix}" if suffix else self._name
        plot.save(made, self._folder / name)
        self._text.append(f"![{alternative}]({name}.svg)\n")

    def text(self):
        title, *rest = self._text
        note = NOTES.get(self._kept["scale"])
        return "\n".join([title, *([f"*{note}*\n"] if note else []), *rest, self._foot()])

    def _add_table(self, columns, rows, left, command):
        self._text.append(table.markdown(columns, rows, left))
        self._text.append(wrapped(f"<sub>{self._source(command)}</sub>") + "\n")

    def _source(self, command):
        kept = self._kept
        command = f"`{command}`" if command else f"`./dev experiments {self._name}{scale_option(kept['scale'])}`"
        return f"{command}; {describe_host(kept)}; commit {kept['commit']}"

    def _foot(self):
        lines = [f"Measured on {self._kept['measured']} in {self._kept['seconds']:,.0f} s by:\n"]
        lines += [f"    {command}" for command in self._kept["commands"]]
        return "\n".join(lines) + "\n"


def wrapped(text):
    return textwrap.fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


CLAIM_COLUMNS = ["figure", "unit", "poster", "ours", "better by"]

# What a section says whose figures are not of a full run.
NOTES = {"quick": "A quick run: fewer samples, sizes and languages than a full one has.",
         "smoke": "A smoke run: it shows that the experiment works, no more."}


def scale_option(scale):
    return "" if scale == "full" else f" --{scale}"


def describe_host(kept):
    """Host, kernel and accelerator in one line."""
    machine, host = kept["machine"], kept["host"]
    text = f"{machine['cpus']} × {machine['cpu']}, Linux {machine['kernel']}"
    if kept["accelerator"] == "emulated-host":
        text += f"; emulated host: {host['cpus']} × {host['cpu']}, Linux {host['kernel']}, KVM (AMD SVM)"
    elif kept["accelerator"] == "kvm":
        text += "; KVM"
    else:
        text += "; no microVM"
    kernels = sorted(set(kept["guest_kernels"].values()))
    return text + (f"; guest Linux {', '.join(kernels)}" if kernels else "")


# --- index.md ---------------------------------------------------------------------------------------------------------

_MARK = "<!-- experiment {} -->"
_SECTION = re.compile(r"<!-- experiment (\S+) -->\n(.*?)(?=<!-- experiment |\Z)", re.DOTALL)
_CLAIM_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)

HEAD = """# The poster's experiments, on this system

`./dev experiments` makes this page: it measures, keeps raw samples in `build/experiments/`, and draws.
`--render` draws again from the samples that were kept.

- Numbers are medians, with the median absolute deviation in brackets; whiskers in plots are that deviation.
- *Poster*: SnapFaaS, Princeton 2019, on hardware. *Better by*: above 1, ours is better.
- *Emulated host*: where no usable KVM is found, microVMs run in a machine emulated by QEMU (TCG), with one CPU, ten to
  fifty times slower than hardware. Read ratios between its times, not the times.
"""


def sections_of(index):
    """The sections of an index.md by experiment, so that those that were not run this time stay."""
    return {name: text.rstrip("\n") + "\n" for name, text in _SECTION.findall(index)}


def claim_rows(section):
    """The rows of its table with the poster's figures."""
    lines = section.splitlines()
    header = table.markdown(CLAIM_COLUMNS, [], 2).splitlines()[0]
    if header not in lines:
        return []
    rows = []
    for line in lines[lines.index(header) + 2:]:
        if not _CLAIM_ROW.match(line):
            break
        rows.append(line)
    return rows


def notes_on(names, sections):
    """Lines of the head, for the sections that are not of full runs: their figures stand beside the others'."""
    noted = {note: [name for name in names if note in sections[name]] for note in NOTES.values()}
    return "".join(f"- {', '.join(found)}: {note}\n" for note, found in noted.items() if found)


def index_of(sections, order):
    """index.md of the sections, each a text by its experiment's name."""
    names = [name for name in order if name in sections]
    rows = [row for name in names for row in claim_rows(sections[name])]
    header = table.markdown(CLAIM_COLUMNS, [], 2)
    parts = [HEAD + notes_on(names, sections), header + "\n".join(rows) + "\n"]
    parts += [f"{_MARK.format(name)}\n{sections[name].rstrip()}\n" for name in names]
    return "\n".join(parts)
