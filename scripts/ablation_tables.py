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

STARTS = IDENTITY, SEARCH, NETWORK, IMPROVED = "identity", "search", "network", "improved"
WITHOUT, WITH = "identity+search", "search+network"
"""The choices of the pipeline: the best of the proposals without the network's, and with its improvement of that."""

CHOICES = {WITHOUT: ((IDENTITY, SEARCH), ()), WITH: ((IDENTITY, SEARCH), (IMPROVED,))}
"""Proposers and improvers."""

PROPOSALS = (IDENTITY, SEARCH, NETWORK, WITH)

DESCRIPTOR, INTENSITY = "descriptor", "intensity"
"""The ladders between which the pipeline decides by the data: descriptors at all scales, or intensities at the fine."""

MIXED = "mind > intensity"
"""A run that compares MIND-SSC at the coarse scales and intensities at the fine ones."""

COARSE_BOTH = "both > mind"
"""A run that compares the network's descriptors beside MIND-SSC, but at the fine scales MIND-SSC alone."""

DESCRIPTORS = ("mind", "network", "both")
AUTO, AUTO_BOTH = "auto", "auto+both"
AUTOMATIC = {AUTO: "mind", AUTO_BOTH: COARSE_BOTH}
"""The run that these are on a pair of two contrasts; on a pair of one they are both MIXED."""

COMPARISONS = (*DESCRIPTORS, "intensity", AUTO, AUTO_BOTH)
ACROSS = (*DESCRIPTORS, AUTO_BOTH)
BASELINE = (WITHOUT, AUTO)
USES = {"with": (WITH, AUTO_BOTH), "only proposes": (WITH, AUTO), "only describes": (WITHOUT, AUTO_BOTH)}
"""What the network may do in the pipeline, by proposal and comparison; BASELINE is the pipeline without it."""

REFERENCE = (SEARCH, "mind")
"""Proposal and comparison that the means are related to, at the default iterations."""

BARS = {
    DICE.key: dataclasses.replace(DICE, absolute_tolerance=0.005),
    TRE.key: dataclasses.replace(TRE, relative_tolerance=0.02),
}
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
    return AUTOMATIC[comparison] if ladder == DESCRIPTOR else MIXED


def run_of(pair: Mapping, proposal: str, comparison: str, count: int) -> tuple[str, str, int]:
    """The run that a variant is on a pair."""
    start = pair["chosen"].get(proposal, proposal)
    return start, made_of(comparison, pair["ladder"][start]) if count else "", count


def urgent_runs(pair: Mapping, counts: Iterable[int], *, across: bool = True) -> list[tuple[str, str, int]]:
    """Of everything to run on a pair what the pipeline's uses of the network, and its descriptors, are judged by."""
    wanted = [run_of(pair, *use, count) for count in counts if count for use in (BASELINE, *USES.values())]
    if across and is_across(pair):
        wanted += [run_of(pair, SEARCH, comparison, count) for count in counts if count for comparison in ACROSS]
    return list(dict.fromkeys(wanted))


def needed_runs(pair: Mapping, counts: Iterable[int]) -> list[tuple[str, str, int]]:
    """(start, run, iterations) of everything to run on a pair, each once."""
    return list(dict.fromkeys(run_of(pair, *variant) for variant in variants(counts)))


def value(pair: Mapping, proposal: str, comparison: str, count: int) -> dict | None:
    """Score and cost of a variant on a pair: making the proposals it needs, and refining the one it starts from.

    None if the run it is isn't finished.
    """
    start, made, _ = run_of(pair, proposal, comparison, count)
    run = pair["runs"].get(run_key(start, made, count))
    if run is None:
        return None
    makers = [pair["proposals"][name] for names in CHOICES.get(proposal, ((proposal,),)) for name in names]
    peaks = [cost["peak_mb"] for cost in (*makers, run)]
    return run["score"] | {
        "start": start,
        "refine_cpu_s": run["cpu_s"],
        "cpu_s": sum(cost["cpu_s"] for cost in (*makers, run)),
        "wall_s": sum(cost["wall_s"] for cost in (*makers, run)),
        "peak_mb": None if None in peaks else max(peaks),
    }


def variants(counts: Iterable[int]) -> list[tuple[str, str, int]]:
    """(proposal, comparison, iterations) of all rows of the means; without iterations there is one comparison."""
    return [
        (proposal, comparison, count)
        for count in counts
        for proposal in PROPOSALS
        for comparison in (COMPARISONS if count else COMPARISONS[:1])
    ]


def relative(figure: Figure, own: float, other: float) -> float:
    """Dice as a difference, TRE as a multiple."""
    return own - other if figure.key == DICE.key else own / other


def comparable(pairs: Pairs, rows: Iterable[tuple[str, str, int]]) -> dict[str, Mapping]:
    """The pairs that have all the variants that any pair has: over these, means can be compared."""
    have = [{case for case, pair in pairs.items() if value(pair, *variant)} for variant in rows]
    common = set(pairs).intersection(*(cases for cases in have if cases)) if any(have) else set()
    return {case: pair for case, pair in pairs.items() if case in common}


def summarized(pairs: Pairs, variant: tuple[str, str, int], reference: tuple[str, str, int]) -> dict:
    """A variant over pairs that have it, or none of which has: means, means against a reference, most folds, cost."""
    found = {case: (value(pair, *variant), value(pair, *reference)) for case, pair in pairs.items()}
    found = {case: both for case, both in found.items() if None not in both}
    row = {
        "proposal": variant[0],
        "comparison": variant[1],
        "iterations": variant[2],
        "against": reference[2],
        "pairs": len(found),
    }
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


def is_across(pair: Mapping) -> bool:
    """Whether the pipeline without the network decides for descriptors at all scales."""
    return pair["ladder"][pair["chosen"][WITHOUT]] == DESCRIPTOR


def across_contrasts(pairs: Pairs) -> list[str]:
    return [case for case, pair in pairs.items() if is_across(pair)]


def uses(pairs: Pairs, counts: Sequence[int], default: int) -> list[dict]:
    """What the network does in the pipeline against the pipeline without it: as many iterations, and the default's."""
    rows = []
    for count in sorted((count for count in counts if count), reverse=True):
        for against in dict.fromkeys((count, default)):
            compared = comparable(pairs, [(*BASELINE, against), *((*use, count) for use in USES.values())])
            rows += [
                summarized(compared, (*use, count), (*BASELINE, against)) | {"use": name} for name, use in USES.items()
            ]
    return rows


def results(pairs: Pairs, counts: Sequence[int], default: int, *, default_only: bool = False) -> dict:
    """All that the tables say: the network's uses; and unless only these, the means and the pairs across contrasts."""
    found = {"uses": uses(pairs, counts, default)}
    if default_only:
        return found
    compared = comparable(pairs, variants(counts))
    return found | {
        "means": [summarized(compared, variant, (*REFERENCE, default)) for variant in variants(counts)],
        "across_contrasts": across_contrasts(pairs),
    }


# Markdown -----------------------------------------------------------------------------------------------------------

MEANING = """\
Every pair is prepared and aligned linearly once; that is not counted. From there on:

- **proposal**: the field that the refinement starts from. `identity`: none; `search`: the discrete search; `network`:
  the network's; `{without}`: the better scored of the first two, by the pipeline's own rule; `{with_}`: that one
  composed with the network's field for what it leaves to do (`improved`), if that is scored better. A choice that
  equals a run already made was not run again; its seconds are those of all its proposals and of the refinement.
- **comparison**: what the refinement compares. `mind`, `network` and `both`: MIND-SSC, the network's descriptors, the
  two together, at all scales; `intensity`: intensities at all scales; `auto`: the pipeline without the network's
  descriptors, which decides by the data whether MIND-SSC is followed by intensities at the fine scales; `auto+both`:
  the same, but where it decides for descriptors at all scales, the network's join MIND-SSC at the coarse ones. Where
  two comparisons are the same on a pair, they are one run.
- **iterations**: of the refinement at its coarsest scale; the default is {default}. Without iterations the proposal is
  the answer, and nothing is compared.
- **Dice, TRE**: by the referee, means over the pairs that have labels or landmarks. The folds are counted by the engine
  (`jacobian.jacobian_figures`) on the same voxels, which takes far less time than the referee's own count.
- **folds, strict folds**: voxels with a determinant that isn't positive, in percent: by central differences, and in any
  of the eight one-sided ones. The largest of all pairs.
- **CPU s**: processor seconds of making and scoring the proposals and of refining, median of the pairs; **refining**:
  of the refinement alone. Every run starts with fresh memory, which costs some of these seconds.
- **peak MB**: most resident memory of the process meanwhile, the scans and PyTorch itself included (10^6 bytes); the
  largest of all pairs."""


def to_markdown(content: Mapping) -> str:
    """The page: the network's uses, pairs across contrasts, means, every pair; or the first of these alone."""
    pairs, counts, default = content["cases"], content["counts"], content["default"]
    parts = ["# Proposals, comparisons and iterations"]
    if "means" in content:
        parts.append("![Dice and TRE against CPU seconds, for every proposal and comparison](ablation.png)")
    parts += [
        f"{counted(len(pairs), 'real pair')}, {counted(content['threads'], 'thread')}. The finest working grid "
        f"has at most {content['voxels']:,} voxels. The network's weights: SHA-256 {content['weights']}…. "
        + markdown_provenance(content, content["versions"]),
        MEANING.format(with_=WITH, without=WITHOUT, default=default),
    ]
    if content["missing"]:
        parts.append(
            f"Not measured yet: {', '.join(content['missing'])}. Means are over the pairs that have all that "
            "is compared; what no pair has is a dash."
        )
    parts += _uses(pairs, content["uses"], default)
    if "means" in content:
        parts += _across(pairs, content["across_contrasts"], default)
        parts += ["## Means", _means(content["means"], default)]
    parts.append("## Every pair")
    for case, pair in pairs.items():
        parts += [f"### {case}", _facts(pair), *([_pair_table(pair, counts)] if "means" in content else [])]
    return "\n\n".join(parts) + "\n"


def _means(rows: Sequence[Mapping], default: int) -> str:
    table = [
        [
            row["proposal"],
            row["comparison"] if row["iterations"] else "–",
            str(row["iterations"]),
            shown(row["dice"], 4),
            shown(row["dice_relative"], 4, sign=True),
            shown(row["tre_mm"], 3),
            shown(row["tre_mm_relative"], 3),
            shown(row["folds_pct"], 4),
            shown(row["ndv_pct"], 4),
            shown(row["cpu_s"], 1),
            shown(row["refine_cpu_s"], 1),
            shown(row["peak_mb"], 0),
        ]
        for row in rows
    ]
    reference = f"{REFERENCE[0]} × {REFERENCE[1]} × {default}"
    return (
        f"Over {counted(max(row['pairs'] for row in rows), 'pair')}. "
        "The two columns beside Dice and TRE relate every pair to its own value with "
        f"{reference}: mean difference of Dice, mean multiple of TRE.\n\n"
        + markdown_table(
            [
                "proposal",
                "comparison",
                "iterations",
                "Dice",
                "against the reference",
                "TRE, mm",
                "× the reference",
                "folds, %",
                "strict folds, %",
                "CPU s",
                "refining",
                "peak MB",
            ],
            table,
        )
    )


def _across(pairs: Pairs, cases: Sequence[str], default: int) -> list[str]:
    parts = [
        "## Across contrasts",
        f"The pairs on which the data decide for descriptors at all scales, from the proposal `{SEARCH}`, "
        f"{default} iterations: which descriptor to compare.",
    ]
    for figure in FIGURES:
        rows = {
            case: [(value(pairs[case], SEARCH, comparison, default) or {}).get(figure.key) for comparison in ACROSS]
            for case in cases
        }
        rows = {case: values for case, values in rows.items() if any(value is not None for value in values)}
        if rows:
            whole = [values for values in rows.values() if None not in values]
            means = [mean(column) for column in zip(*whole)] or [None] * len(ACROSS)
            rows[f"mean of {counted(len(whole), 'pair')}"] = means
            parts.append(
                markdown_table(
                    [figure.title, *ACROSS],
                    [[case, *(shown(v, figure.digits) for v in values)] for case, values in rows.items()],
                )
            )
    return parts if len(parts) > 2 else [*parts, "None of the pairs."]


def _uses(pairs: Pairs, rows: Sequence[Mapping], default: int) -> list[str]:
    table = [
        [
            row["use"],
            str(row["iterations"]),
            str(row["against"]),
            str(row["pairs"]),
            shown(row["dice_relative"], 4, sign=True),
            shown(row["tre_mm_relative"], 3),
            shown(row["cpu_s_ratio"], 2),
            shown(row["refine_cpu_s_ratio"], 2),
            str(len(row["worse"])) if row["pairs"] else "–",
        ]
        for row in rows
    ]
    names = "; ".join(f"**{name}** {use[0]} × {use[1]}" for name, use in USES.items())
    parts = [
        "## The default with the network",
        f"Against **without**, {BASELINE[0]} × {BASELINE[1]} with as many iterations or the default's: {names}. "
        "Pair by pair: mean difference of Dice, mean multiple of TRE, median multiple of the CPU seconds (all, "
        "and refining alone), and on how many pairs it is worse by more than "
        f"{BARS[DICE.key].absolute_tolerance:g} Dice or {100 * BARS[TRE.key].relative_tolerance:g} % TRE.",
        markdown_table(
            [
                "network",
                "iterations",
                "without: iterations",
                "pairs",
                "Dice",
                "× TRE",
                "× CPU s",
                "× refining",
                "pairs worse",
            ],
            table,
        ),
    ]
    for count in dict.fromkeys(row["iterations"] for row in rows):
        parts.append(
            f"With {count} iterations, all against as many without; **!** marks a pair that is worse by more "
            "than that. In brackets the proposal that was chosen, where it isn't the one chosen without the "
            "network; × refining are the CPU seconds of the refinement."
        )
        for figure in FIGURES:
            body = [[case, *_compared(pair, figure, count)] for case, pair in pairs.items() if _has(pair, figure)]
            if body:
                header = [figure.title, "without", *USES, *(f"× refining, {name}" for name in USES)]
                parts.append(markdown_table(header, body))
    return parts


def _compared(pair: Mapping, figure: Figure, count: int) -> list[str]:
    """Without the network, its uses, and what these take."""
    base = value(pair, *BASELINE, count)
    cells, seconds = [shown(base and base[figure.key], figure.digits)], []
    for use in USES.values():
        own = value(pair, *use, count)
        if own is None or base is None:
            cells.append(shown(own and own[figure.key], figure.digits))
            seconds.append(shown(None, 2))
            continue
        text = shown(own[figure.key], figure.digits)
        if own["start"] != base["start"]:
            text += f" ({own['start']})"
        worse = BARS[figure.key].standing(own[figure.key], base[figure.key]) == BEHIND
        cells.append(text + " **!**" * worse)
        seconds.append(shown(own["refine_cpu_s"] / base["refine_cpu_s"] if base["refine_cpu_s"] else None, 2))
    return cells + seconds


def _has(pair: Mapping, figure: Figure) -> bool:
    return any(figure.key in run["score"] for run in pair["runs"].values())


def _facts(pair: Mapping) -> str:
    """How the proposals were scored, and what the data decided."""
    scored = ", ".join(
        f"{name} {cost['objective']:.3f} ({cost['cpu_s']:.1f} CPU s)" for name, cost in pair["proposals"].items()
    )
    ladders = " / ".join(dict.fromkeys(pair["ladder"][name] for name in STARTS))
    return (
        f"{pair['modality']}, finest voxels {pair['spacing_mm']:.2f} mm, {pair['voxels']:,} of them. Mismatch of "
        f"the proposals as a share of chance: {scored}; chosen: {pair['chosen'][WITH]}, without the network "
        f"{pair['chosen'][WITHOUT]}. Fine scales by the data: {ladders}."
    )


def _pair_table(pair: Mapping, counts: Iterable[int]) -> str:
    figures = [figure for figure in FIGURES if _has(pair, figure)]
    header = ["comparison", "iterations"]
    header += [f"{figure.title}: {proposal}" for figure in figures for proposal in PROPOSALS]
    header += ["strict folds, %", *(f"CPU s: {proposal}" for proposal in PROPOSALS), "peak MB"]
    rows = []
    for count in counts:
        for comparison in COMPARISONS if count else COMPARISONS[:1]:
            found = [value(pair, proposal, comparison, count) or {} for proposal in PROPOSALS]
            row = [comparison if count else "–", str(count)]
            row += [shown(one.get(figure.key), figure.digits) for figure in figures for one in found]
            row += [shown(max((one["ndv_pct"] for one in found if one), default=None), 4)]
            row += [shown(one.get("cpu_s"), 1) for one in found]
            peaks = [one["peak_mb"] for one in found if one]
            rows.append([*row, shown(None if None in peaks else max(peaks, default=None), 0)])
    return markdown_table(header, rows)


# The plot -----------------------------------------------------------------------------------------------------------

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
    """Of a panel, the better end on top."""
    low, high = min(values), max(values)
    size = high - low or 0.01
    if figure.larger_is_better:
        return low - CORNER * size, high + MARGIN * size
    return high + CORNER * size, low - MARGIN * size
