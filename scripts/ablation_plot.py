"""The ablation's plot: accuracy over CPU seconds, from the means of `ablation_tables`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ablation_tables import AUTO, AUTO_BOTH, PROPOSALS, REFERENCE
from benchmark_tables import DICE, FIGURES, TRE, Figure

COLORS = {
    "mind": "tab:blue",
    "network": "tab:orange",
    "both": "tab:green",
    "intensity": "0.55",
    AUTO: "black",
    AUTO_BOTH: "tab:purple",
}
TITLES = {DICE.key: "Dice, difference", TRE.key: "TRE, multiple"}
MARGIN, CORNER = 0.1, 0.25
"""Space at the better and at the worse end of a panel (for text), as fractions of the range of values."""


def draw(rows: Sequence[Mapping], default: int, path: Path) -> None:
    """A panel for every proposal: accuracy relative to the reference over CPU seconds, a line for every comparison.

    The range of a panel leaves out proposals without iterations and intensities at all scales, which are often far
    worse; values outside the range are written in the panel's corner.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    rows = [row for row in rows if row["pairs"]]
    figures = [figure for figure in FIGURES if any(row[f"{figure.key}_relative"] is not None for row in rows)]
    grid, axes = plt.subplots(
        len(figures),
        len(PROPOSALS),
        figsize=(15, 4.2 * len(figures) + 0.8),
        squeeze=False,
        sharex=True,
        sharey="row",
        constrained_layout=True,
    )
    for line, figure in zip(axes, figures):
        key = f"{figure.key}_relative"
        limits = _limits([row[key] for row in rows if row["iterations"] and row["comparison"] != "intensity"], figure)
        for axis, proposal in zip(line, PROPOSALS):
            axis.set(title=f"proposal: {proposal}" if figure is figures[0] else "", ylim=limits, xscale="log")
            axis.axhline(0.0 if figure.key == DICE.key else 1.0, color="0.3", linewidth=0.8)
            _panel(axis, [row for row in rows if row["proposal"] == proposal], key, limits)
        line[0].set_ylabel(f"{TITLES[figure.key]} ({'higher' if figure.larger_is_better else 'lower'} is better)")
    for axis in axes[-1]:
        axis.set_xlabel("CPU s, median")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    grid.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    counts = " and ".join(str(count) for count in sorted({row["iterations"] for row in rows} - {0}))
    grid.suptitle(
        f"Means against {REFERENCE[0]} × {REFERENCE[1]} × {default} iterations; the points of a line: "
        f"{counts} iterations"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    grid.savefig(path, dpi=100)
    plt.close(grid)


def _panel(axis, rows: Sequence[Mapping], key: str, limits: tuple[float, float]) -> None:
    notes = []
    for alone in (row for row in rows if not row["iterations"]):
        axis.axhline(alone[key], color="0.5", linestyle=":")  # a median of no seconds has no place on a log axis
        notes.append(f"0 iterations: {alone[key]:.3f}, {alone['cpu_s']:.1f} s")
    for comparison, color in COLORS.items():
        points = [row for row in rows if row["comparison"] == comparison and row["iterations"]]
        style = "--" if comparison.startswith(AUTO) else "-"
        axis.plot(
            [row["cpu_s"] for row in points],
            [row[key] for row in points],
            style,
            color=color,
            marker="o",
            markersize=5,
            label=comparison,
        )
        notes += [
            f"{comparison}, {row['iterations']} iterations: {row[key]:.3f}, {row['cpu_s']:.1f} s"
            for row in points
            if not min(limits) <= row[key] <= max(limits)
        ]
    axis.grid(alpha=0.3, which="both")
    axis.annotate("\n".join(notes), (0.97, 0.03), xycoords="axes fraction", ha="right", fontsize="small", color="0.3")


def _limits(values: Sequence[float], figure: Figure) -> tuple[float, float]:
    """The limits of a panel's vertical axis, with the better end at the top."""
    low, high = min(values), max(values)
    size = high - low or 0.01
    if figure.larger_is_better:
        return low - CORNER * size, high + MARGIN * size
    return high + CORNER * size, low - MARGIN * size
