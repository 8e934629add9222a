"""The one style of all plots: every line and bar is a median, every whisker its median absolute deviation."""

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  (the backend comes first)
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator, ScalarFormatter  # noqa: E402

# Okabe and Ito's colours, which the colour-blind can tell apart; markers and hatches say it once more.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#666666", "#F0E442"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
HATCHES = ["", "///", "...", "\\\\\\", "xx", "--", "++", "oo"]

pyplot.rcParams.update({
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "hatch.linewidth": 0.4,
    "svg.fonttype": "path",
    # The same data gives the same bytes.
    "svg.hashsalt": "snapfaas",
})


_PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")


def figure(panels=1, width=8.0, height=3.8):
    """A figure and its axes: one Axes, or a list of them side by side."""
    made, axes = pyplot.subplots(1, panels, figsize=(width, height), squeeze=False)
    return made, axes[0][0] if panels == 1 else list(axes[0])


def stacked_bars(axes, labels, parts, total_format="{:,.0f}"):
    """`parts`: (name, a number for each label), from the bottom up. The sum stands above each bar."""
    tops = [0.0] * len(labels)
    for place, (name, values) in enumerate(parts):
        axes.bar(labels, values, bottom=tops, width=0.62, label=name, color=COLOURS[place % len(COLOURS)],
                 hatch=HATCHES[place % len(HATCHES)], edgecolor="white", linewidth=0.5)
        tops = [top + value for top, value in zip(tops, values)]
    for label, top in zip(labels, tops):
        axes.annotate(total_format.format(top), (label, top), textcoords="offset points", xytext=(0, 3), ha="center",
                      fontsize=9)
    axes.set_ylim(0, max(tops) * 1.12)


def bars(axes, labels, groups, value_format=None):
    """`groups`: (name, a Spread or None for each label), side by side at each label."""
    width = 0.8 / len(groups)
    for place, (name, spreads) in enumerate(groups):
        at = [index - 0.4 + width * (place + 0.5) for index, one in enumerate(spreads) if one is not None]
        there = [one for one in spreads if one is not None]
        axes.bar(at, [one.median for one in there], width=width * 0.92, yerr=[one.mad for one in there], label=name,
                 color=COLOURS[place % len(COLOURS)], hatch=HATCHES[place % len(HATCHES)], edgecolor="white",
                 linewidth=0.5, error_kw={"elinewidth": 1, "ecolor": "#333333", "capsize": 2})
        for where, one in zip(at, there):
            if value_format:
                axes.annotate(value_format.format(one.median), (where, one.median + one.mad), xytext=(0, 2),
                              textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(range(len(labels)), labels)


def line(axes, x, spreads, label, place):
    """Medians over x, with whiskers. `place`: which colour and marker."""
    axes.errorbar(x, [one.median for one in spreads], yerr=[one.mad for one in spreads], label=label,
                  color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)], markersize=4,
                  linewidth=1.4, elinewidth=1, capsize=2)


def plain_line(axes, x, y, label, place, style="-"):
    """Numbers that were not sampled, such as bytes."""
    axes.plot(x, y, style, label=label, color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)],
              markersize=4, linewidth=1.4)


def log_axis(axis, ticks=None):
    """`axis`: axes.xaxis or axes.yaxis, on a logarithmic scale with plain numbers, at `ticks` alone where given."""
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    if ticks:
        axis.set_ticks(ticks)
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(_PLAIN)


def label(axes, title, x, y, legend=True):
    """`x` and `y` with their units. The legend stands beside the axes, where it hides nothing."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "linear" and isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.set_major_formatter(_PLAIN)
    if legend:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=9, borderaxespad=0)


def save(made, path):
    """As path.svg and path.png."""
    made.savefig(f"{path}.svg", metadata={"Date": None, "Creator": None})
    made.savefig(f"{path}.png", metadata={"Software": None})
    pyplot.close(made)
