"""The ablation's figures, tables and plot: pure functions from what was measured of each pair.

Of a pair is kept what was really run:

    {"modality", "spacing_mm", "voxels",
     "proposals": {name: {"objective", "cpu_s", "wall_s", "peak_mb"}}, "chosen": {choice: name},
     "ladder": {name: ladder}, "runs": {key: {"score": {...}, "cpu_s", "wall_s", "peak_mb"}}}

A choice between proposals and a comparison that the data choose are runs already made: `value` looks them up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmark_tables import BEHIND, DICE, FIGURES, TRE, Figure
from measuring import counted, markdown_provenance, markdown_table, mean, median, shown

STARTS = IDENTITY, SEARCH, NETWORK = "identity", "search", "network"
WITHOUT, WITH = "identity+search", "network+search"
"""The choices of the pipeline: the best of the proposals without the network's, and with it."""

CHOICES = {WITHOUT: (IDENTITY, SEARCH), WITH: STARTS}
PROPOSALS = (*STARTS, WITH)

DESCRIPTOR, INTENSITY = "descriptor", "intensity"
"""The ladders between which the pipeline decides by the data: descriptors at all scales, or intensities at the fine."""

MIXED = "{} > intensity"
"""A run that compares descriptors at the coarse scales and intensities at the fine ones."""

DESCRIPTORS = ("mind", "network", "both")
AUTO = "auto"
AUTOMATIC = {AUTO: ("mind", "mind"), "auto+network": ("network", "network"), "auto+both": ("both", "both"),
             "auto, both across contrasts": ("both", "mind")}  # fmt: skip
"""What the descriptor rungs compare, on a pair of two contrasts and on a pair of one."""

COMPARISONS = (*DESCRIPTORS, "intensity", AUTO, "auto+network", "auto+both")
REFERENCE = (SEARCH, "mind")
"""Proposal and comparison that the means are related to, at the default iterations."""

BARS = {DICE.key: dataclasses.replace(DICE, absolute_tolerance=0.005),
        TRE.key: dataclasses.replace(TRE, relative_tolerance=0.02)}  # fmt: skip
"""How much worse a pair may become with the network."""

Pairs = Mapping[str, Mapping]

# What was run, and what follows from it -----------------------------------------------------------------------------


def run_key(start: str, made: str, count: int) -> str:
    """Of a run; without iterations nothing is compared."""
    return f"{start} | {made} | {count}" if count else f"{start} | 0"


def made_of(comparison: str, ladder: str) -> str:
    """The run that a comparison is, on a pair for which the data chose this ladder."""
    if comparison not in AUTOMATIC:
        return comparison
    across, same = AUTOMATIC[comparison]
    return across if ladder == DESCRIPTOR else MIXED.format(same)


def needed_runs(ladders: Mapping[str, str], counts: Iterable[int]) -> list[tuple[str, str, int]]:
    """(start, run, iterations) of everything to run on a pair, each once."""
    wanted = [(start, made_of(comparison, ladders[start]) if count else "", count)
              for start in STARTS for count in counts for comparison in COMPARISONS]
    return list(dict.fromkeys(wanted))


def value(pair: Mapping, proposal: str, comparison: str, count: int) -> dict:
    """Score and cost of a variant on a pair: making the proposals it needs, and refining the one it starts from."""
    start = pair["chosen"].get(proposal, proposal)
    run = pair["runs"][run_key(start, made_of(comparison, pair["ladder"][start]), count)]
    makers = [pair["proposals"][name] for name in CHOICES.get(proposal, (proposal,))]
    peaks = [cost["peak_mb"] for cost in (*makers, run)]
    return run["score"] | {"start": start, "refine_cpu_s": run["cpu_s"],
                           "cpu_s": sum(cost["cpu_s"] for cost in (*makers, run)),
                           "wall_s": sum(cost["wall_s"] for cost in (*makers, run)),
                           "peak_mb": None if None in peaks else max(peaks)}  # fmt: skip


def variants(counts: Iterable[int]) -> list[tuple[str, str, int]]:
    """(proposal, comparison, iterations) of all rows of the means; without iterations there is one comparison."""
    return [(proposal, comparison, count) for count in counts for proposal in PROPOSALS
            for comparison in (COMPARISONS if count else COMPARISONS[:1])]


def relative(figure: Figure, own: float, other: float) -> float:
    """Dice as a difference, TRE as a multiple."""
    return own - other if figure.key == DICE.key else own / other


def summarized(pairs: Pairs, variant: tuple[str, str, int], reference: tuple[str, str, int]) -> dict:
    """A variant over all pairs: means, means against a reference, the most folds, what it took."""
    found = {case: (value(pair, *variant), value(pair, *reference)) for case, pair in pairs.items()}
    row = {"proposal": variant[0], "comparison": variant[1], "iterations": variant[2]}
    worse = []
    for figure in FIGURES:
        both = {case: (own[figure.key], other[figure.key]) for case, (own, other) in found.items() if figure.key in own}
        row[figure.key] = mean(own for own, _ in both.values())
        row[f"{figure.key}_relative"] = mean(relative(figure, *values) for values in both.values())
        worse += [case for case, values in both.items() if BARS[figure.key].standing(*values) == BEHIND]
    for key in ("folds_pct", "ndv_pct", "peak_mb"):
        row[key] = max((own[key] for own, _ in found.values() if own[key] is not None), default=None)
    for key in ("cpu_s", "refine_cpu_s"):
        row[key] = median(own[key] for own, _ in found.values())
        row[f"{key}_ratio"] = median(own[key] / other[key] for own, other in found.values() if other[key])
    return row | {"worse": list(dict.fromkeys(worse))}


def across_contrasts(pairs: Pairs) -> list[str]:
    """The pairs on which the pipeline without the network decides for descriptors at all scales."""
    return [case for case, pair in pairs.items() if pair["ladder"][pair["chosen"][WITHOUT]] == DESCRIPTOR]


def candidates(counts: Sequence[int]) -> list[tuple[str, str, int]]:
    """Variants that may become the default."""
    return [(proposal, comparison, count) for count in sorted(counts, reverse=True) if count
            for proposal in (WITHOUT, WITH) for comparison in AUTOMATIC]


def results(pairs: Pairs, counts: Sequence[int], default: int) -> dict:
    """All that the tables say: the means, the pairs across contrasts, the candidates for the default."""
    baseline = (WITHOUT, AUTO, default)
    return {"means": [summarized(pairs, variant, (*REFERENCE, default)) for variant in variants(counts)],
            "across_contrasts": across_contrasts(pairs),
            "candidates": [summarized(pairs, variant, baseline) for variant in candidates(counts)]}  # fmt: skip


# Markdown -----------------------------------------------------------------------------------------------------------

MEANING = """\
Every pair is prepared and aligned linearly once; that is not counted. From there on:

- **proposal**: the field that the refinement starts from. `identity`: none; `search`: the discrete search; `network`:
  the network's; `{with_}`: the best scored of these three, by the pipeline's own rule. It equals a run already made
  and was not run again; its seconds are those of all three proposals and of the refinement. Likewise
  `{without}`, the pipeline without the network.
- **comparison**: what the refinement compares. `mind`, `network` and `both`: MIND-SSC, the network's descriptors, the
  two together, at all scales; `intensity`: intensities at all scales; `auto`: the pipeline decides by the data whether
  MIND-SSC is followed by intensities at the fine scales; `auto+network` and `auto+both` decide in the same way and
  compare these descriptors where `auto` compares MIND-SSC; `auto, both across contrasts` does so only on pairs for
  which the data say descriptors at all scales. Where two comparisons are the same on a pair, they are one run.
- **iterations**: of the refinement at its coarsest scale; the default is {default}. Without iterations the proposal is
  the answer, and nothing is compared.
- **Dice, TRE**: by the referee, means over the pairs that have labels or landmarks.
- **folds, strict folds**: voxels with a determinant that isn't positive, in percent: by central differences, and in any
  of the eight one-sided ones. The largest of all pairs.
- **CPU s**: processor seconds of making and scoring the proposals and of refining, median of the pairs; **refining**:
  of the refinement alone. Every run starts with fresh memory, which costs some of these seconds.
- **peak MB**: most resident memory of the process meanwhile, the scans and PyTorch itself included (10^6 bytes); the
  largest of all pairs."""


def to_markdown(content: Mapping) -> str:
    """The page: means, pairs across contrasts, candidates for the default, every pair."""
    pairs, counts, default = content["cases"], content["counts"], content["default"]
    parts = ["# Proposals, comparisons and iterations",
             "![Dice and TRE against CPU seconds, for every proposal and comparison](ablation.png)",
             f"{counted(len(pairs), 'real pair')}, {counted(content['threads'], 'thread')}, one pair after the other "
             f"in one process. The finest working grid has at most {content['voxels']:,} voxels, fewer than the "
             f"pipeline uses by default. The network's weights: SHA-256 {content['weights']}…. "
             + markdown_provenance(content, content["versions"]),
             MEANING.format(with_=WITH, without=WITHOUT, default=default)]  # fmt: skip
    if content["missing"]:
        parts.append(f"Not measured yet: {', '.join(content['missing'])}.")
    parts += ["## Means", _means(content["means"], default)]
    parts += _across(pairs, content["across_contrasts"], default)
    parts += _candidates(pairs, content["candidates"], default)
    parts.append("## Every pair")
    for case, pair in pairs.items():
        parts += [f"### {case}", _facts(pair), _pair_table(pair, counts)]
    return "\n\n".join(parts) + "\n"


def _means(rows: Iterable[Mapping], default: int) -> str:
    table = [[row["proposal"], row["comparison"] if row["iterations"] else "–", str(row["iterations"]),
              shown(row["dice"], 4), shown(row["dice_relative"], 4, sign=True), shown(row["tre_mm"], 3),
              shown(row["tre_mm_relative"], 3), shown(row["folds_pct"], 4), shown(row["ndv_pct"], 4),
              shown(row["cpu_s"], 1), shown(row["refine_cpu_s"], 1), shown(row["peak_mb"], 0)] for row in rows]
    reference = f"{REFERENCE[0]} × {REFERENCE[1]} × {default}"
    return ("The two columns beside Dice and TRE relate every pair to its own value with "
            f"{reference}: mean difference of Dice, mean multiple of TRE.\n\n"
            + markdown_table(["proposal", "comparison", "iterations", "Dice", "against the reference", "TRE, mm",
                              "× the reference", "folds, %", "strict folds, %", "CPU s", "refining", "peak MB"], table))


def _across(pairs: Pairs, cases: Sequence[str], default: int) -> list[str]:
    parts = ["## Across contrasts",
             f"The pairs on which the data decide for descriptors at all scales, {default} iterations: which "
             "descriptor to compare."]  # fmt: skip
    for figure in FIGURES:
        rows = {case: [value(pairs[case], proposal, comparison, default).get(figure.key)
                       for proposal in (SEARCH, WITH) for comparison in DESCRIPTORS] for case in cases}
        rows = {case: values for case, values in rows.items() if None not in values}
        if rows:
            rows["mean"] = [mean(column) for column in zip(*rows.values())]
            header = [figure.title, *(f"{proposal}, {comparison}" for proposal in (SEARCH, WITH)
                                      for comparison in DESCRIPTORS)]
            parts.append(markdown_table(header, [[case, *(shown(v, figure.digits) for v in values)]
                                                 for case, values in rows.items()]))
    return parts if len(parts) > 2 else [*parts, "None of the pairs."]


def _candidates(pairs: Pairs, rows: Sequence[Mapping], default: int) -> list[str]:
    table = [[row["proposal"], row["comparison"], str(row["iterations"]), shown(row["dice_relative"], 4, sign=True),
              shown(row["tre_mm_relative"], 3), shown(row["cpu_s_ratio"], 2), shown(row["refine_cpu_s_ratio"], 2),
              str(len(row["worse"]))] for row in rows]
    parts = ["## With and without the network",
             f"Candidates for the default against {WITHOUT} × {AUTO} × {default}, the pipeline without the network, "
             "pair by pair: mean difference of Dice, mean multiple of TRE, median multiple of the CPU seconds (all, "
             "and refining alone), and on how many pairs it is worse by more than "
             f"{BARS[DICE.key].absolute_tolerance:g} Dice or {100 * BARS[TRE.key].relative_tolerance:g} % TRE.",
             markdown_table(["proposal", "comparison", "iterations", "Dice", "× TRE", "× CPU s", "× refining",
                             "pairs worse"], table),
             f"Pair by pair with {default} iterations; **!** marks a pair that is worse by more than that. In brackets "
             "the proposal that was chosen, where it isn't the one chosen without the network."]  # fmt: skip
    columns = [(proposal, comparison) for proposal, comparison, count in candidates([default])]
    for figure in FIGURES:
        body = [[case, *(_compared(pair, figure, variant, default) for variant in columns)]
                for case, pair in pairs.items() if _has(pair, figure)]
        if body:
            header = [figure.title, *(f"{proposal}, {comparison}" for proposal, comparison in columns)]
            parts.append(markdown_table(header, body))
    return parts


def _compared(pair: Mapping, figure: Figure, variant: tuple[str, str], default: int) -> str:
    own, base = value(pair, *variant, default), value(pair, WITHOUT, AUTO, default)
    text = shown(own[figure.key], figure.digits)
    if own["start"] != base["start"]:
        text += f" ({own['start']})"
    return text + " **!**" * (BARS[figure.key].standing(own[figure.key], base[figure.key]) == BEHIND)


def _has(pair: Mapping, figure: Figure) -> bool:
    return all(figure.key in run["score"] for run in pair["runs"].values())


def _facts(pair: Mapping) -> str:
    """How the proposals were scored, and what the data decided."""
    scored = ", ".join(f"{name} {cost['objective']:.3f} ({cost['cpu_s']:.1f} CPU s)"
                       for name, cost in pair["proposals"].items())
    ladders = " / ".join(dict.fromkeys(pair["ladder"][name] for name in STARTS))
    return (f"{pair['modality']}, finest voxels {pair['spacing_mm']:.2f} mm, {pair['voxels']:,} of them. Mismatch of "
            f"the proposals as a share of chance: {scored}; chosen: {pair['chosen'][WITH]}, without the network "
            f"{pair['chosen'][WITHOUT]}. Fine scales by the data: {ladders}.")


def _pair_table(pair: Mapping, counts: Iterable[int]) -> str:
    figures = [figure for figure in FIGURES if _has(pair, figure)]
    header = ["comparison", "iterations"]
    header += [f"{figure.title}: {proposal}" for figure in figures for proposal in PROPOSALS]
    header += ["strict folds, %", *(f"CPU s: {proposal}" for proposal in PROPOSALS), "peak MB"]
    rows = []
    for count in counts:
        for comparison in COMPARISONS if count else COMPARISONS[:1]:
            found = [value(pair, proposal, comparison, count) for proposal in PROPOSALS]
            row = [comparison if count else "–", str(count)]
            row += [shown(one[figure.key], figure.digits) for figure in figures for one in found]
            row += [shown(max(one["ndv_pct"] for one in found), 4), *(shown(one["cpu_s"], 1) for one in found)]
            peaks = [one["peak_mb"] for one in found]
            rows.append([*row, shown(None if None in peaks else max(peaks), 0)])
    return markdown_table(header, rows)


# The plot -----------------------------------------------------------------------------------------------------------

COLORS = {"mind": "tab:blue", "network": "tab:orange", "both": "tab:green", "intensity": "0.55", AUTO: "black",
          "auto+network": "tab:red", "auto+both": "tab:purple"}  # fmt: skip
TITLES = {DICE.key: "Dice, difference", TRE.key: "TRE, multiple"}
MARGIN, CORNER = 0.1, 0.25
"""Of the drawn range, room at the better end and, for what is written there, at the worse one."""


def draw(rows: Sequence[Mapping], default: int, path: Path) -> None:
    """A panel for every proposal: accuracy against the reference over CPU seconds, a line for every comparison.

    The proposals alone and intensities at all scales may lie so far below the rest that they would flatten it: they
    don't count for the panel's range, and what lies outside is written in its corner.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figures = [figure for figure in FIGURES if any(row[f"{figure.key}_relative"] is not None for row in rows)]
    grid, axes = plt.subplots(len(figures), len(PROPOSALS), figsize=(15, 4.2 * len(figures) + 0.8), squeeze=False,
                              sharex=True, sharey="row", constrained_layout=True)
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
    grid.suptitle(f"Means against {REFERENCE[0]} × {REFERENCE[1]} × {default} iterations; the points of a line: "
                  f"{counts} iterations")
    path.parent.mkdir(parents=True, exist_ok=True)
    grid.savefig(path, dpi=100)
    plt.close(grid)


def _panel(axis, rows: Sequence[Mapping], key: str, limits: tuple[float, float]) -> None:
    alone = next(row for row in rows if not row["iterations"])
    axis.axhline(alone[key], color="0.5", linestyle=":")  # a median of no seconds has no place on a logarithmic axis
    notes = [f"0 iterations: {alone[key]:.3f}, {alone['cpu_s']:.1f} s"]
    for comparison, color in COLORS.items():
        points = [row for row in rows if row["comparison"] == comparison and row["iterations"]]
        style = "--" if comparison.startswith(AUTO) else "-"
        axis.plot([row["cpu_s"] for row in points], [row[key] for row in points], style, color=color, marker="o",
                  markersize=5, label=comparison)
        notes += [f"{comparison}, {row['iterations']} iterations: {row[key]:.3f}, {row['cpu_s']:.1f} s"
                  for row in points if not min(limits) <= row[key] <= max(limits)]
    axis.grid(alpha=0.3, which="both")
    axis.annotate("\n".join(notes), (0.97, 0.03), xycoords="axes fraction", ha="right", fontsize="small", color="0.3")


def _limits(values: Sequence[float], figure: Figure) -> tuple[float, float]:
    """Of a panel, the better end on top."""
    low, high = min(values), max(values)
    size = high - low or 0.01
    if figure.larger_is_better:
        return low - CORNER * size, high + MARGIN * size
    return high + CORNER * size, low - MARGIN * size
