"""The ablation's variants and figures: pure functions of what was measured on each pair.

The page is made in `ablation_page`, the plot in `ablation_plot`. For each pair the runs that were made are stored:

    {"modality", "spacing_mm", "voxels",
     "proposals": {name: {"objective", "cpu_s", "wall_s", "peak_mb"}}, "chosen": {choice: name},
     "ladder": {name: ladder}, "runs": {key: {"score": {...}, "cpu_s", "wall_s", "peak_mb"}}}

A choice between proposals, and a comparison that is chosen by the data, equal runs already made: `value` looks them up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from benchmark_tables import BEHIND, DICE, FIGURES, TRE, Figure
from measuring import mean, median

STARTS = IDENTITY, SEARCH, NETWORK, IMPROVED = "identity", "search", "network", "improved"
WITHOUT, WITH = "identity+search", "search+network"
"""The pipeline's choices: the best proposal without the network, and that or the network's improvement of it."""

CHOICES = {WITHOUT: ((IDENTITY, SEARCH), ()), WITH: ((IDENTITY, SEARCH), (IMPROVED,))}
"""Proposers and improvers of each choice."""

PROPOSALS = (IDENTITY, SEARCH, NETWORK, WITH)

DESCRIPTOR, INTENSITY = "descriptor", "intensity"
"""The pipeline's two ladders, chosen by the data: descriptors at all scales, or intensities at the fine ones."""

MIXED = "mind > intensity"
"""A run that compares MIND-SSC at the coarse scales and intensities at the fine ones."""

COARSE_BOTH = "both > mind"
"""A run that compares MIND-SSC and the network's descriptors at the coarse scales, and MIND-SSC at the fine ones."""

DESCRIPTORS = ("mind", "network", "both")
AUTO, AUTO_BOTH = "auto", "auto+both"
AUTOMATIC = {AUTO: "mind", AUTO_BOTH: COARSE_BOTH}
"""The equivalent run on a pair with different contrasts; on a pair with the same contrast it is MIXED for both."""

COMPARISONS = (*DESCRIPTORS, "intensity", AUTO, AUTO_BOTH)
ACROSS = (*DESCRIPTORS, AUTO_BOTH)
BASELINE = (WITHOUT, AUTO)
USES = {"with": (WITH, AUTO_BOTH), "only proposes": (WITH, AUTO), "only describes": (WITHOUT, AUTO_BOTH)}
"""Uses of the network in the pipeline, as (proposal, comparison); BASELINE is the pipeline without the network."""

REFERENCE = (SEARCH, "mind")
"""Proposal and comparison that the means are compared with, at the default iterations."""

BARS = {
    DICE.key: dataclasses.replace(DICE, absolute_tolerance=0.005),
    TRE.key: dataclasses.replace(TRE, relative_tolerance=0.02),
}
"""Tolerances within which a pair does not count as worse with the network."""

Pairs = Mapping[str, Mapping]

# Runs and their figures ---------------------------------------------------------------------------------------------


def run_key(start: str, made: str, count: int) -> str:
    """The key of a run; without iterations there is no comparison."""
    return f"{start} | {made} | {count}" if count else f"{start} | 0"


def made_of(comparison: str, ladder: str) -> str:
    """The run that is equivalent to a comparison on a pair for which the data chose this ladder."""
    if comparison not in AUTOMATIC:
        return comparison
    return AUTOMATIC[comparison] if ladder == DESCRIPTOR else MIXED


def run_of(pair: Mapping, proposal: str, comparison: str, count: int) -> tuple[str, str, int]:
    """The run that is equivalent to a variant on a pair."""
    start = pair["chosen"].get(proposal, proposal)
    return start, made_of(comparison, pair["ladder"][start]) if count else "", count


def urgent_runs(pair: Mapping, counts: Iterable[int], *, across: bool = True) -> list[tuple[str, str, int]]:
    """The runs of a pair that the uses of the network and its descriptors are judged by; these are made first."""
    wanted = [run_of(pair, *use, count) for count in counts if count for use in (BASELINE, *USES.values())]
    if across and is_across(pair):
        wanted += [run_of(pair, SEARCH, comparison, count) for count in counts if count for comparison in ACROSS]
    return list(dict.fromkeys(wanted))


def needed_runs(pair: Mapping, counts: Iterable[int]) -> list[tuple[str, str, int]]:
    """(start, run, iterations) of all runs of a pair, each once."""
    return list(dict.fromkeys(run_of(pair, *variant) for variant in variants(counts)))


def value(pair: Mapping, proposal: str, comparison: str, count: int) -> dict | None:
    """Score and cost of a variant on a pair: of making its proposals and refining the chosen one.

    None if the equivalent run is not finished.
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
    """(proposal, comparison, iterations) of all rows of the means; with 0 iterations, one row for each proposal."""
    return [
        (proposal, comparison, count)
        for count in counts
        for proposal in PROPOSALS
        for comparison in (COMPARISONS if count else COMPARISONS[:1])
    ]


def relative(figure: Figure, own: float, other: float) -> float:
    """A figure relative to another: Dice as a difference, TRE as a ratio."""
    return own - other if figure.key == DICE.key else own / other


def comparable(pairs: Pairs, rows: Iterable[tuple[str, str, int]]) -> dict[str, Mapping]:
    """The pairs that have every variant that any pair has, so that means over them are comparable."""
    have = [{case for case, pair in pairs.items() if value(pair, *variant)} for variant in rows]
    common = set(pairs).intersection(*(cases for cases in have if cases)) if any(have) else set()
    return {case: pair for case, pair in pairs.items() if case in common}


def summarized(pairs: Pairs, variant: tuple[str, str, int], reference: tuple[str, str, int]) -> dict:
    """Means of a variant, also relative to a reference, largest folds and median cost, over pairs with both."""
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
    """Whether the pipeline without the network chooses descriptors at all scales."""
    return pair["ladder"][pair["chosen"][WITHOUT]] == DESCRIPTOR


def across_contrasts(pairs: Pairs) -> list[str]:
    return [case for case, pair in pairs.items() if is_across(pair)]


def uses(pairs: Pairs, counts: Sequence[int], default: int) -> list[dict]:
    """The uses of the network relative to the pipeline without it, at equal iterations and at the default ones."""
    rows = []
    for count in sorted((count for count in counts if count), reverse=True):
        for against in dict.fromkeys((count, default)):
            compared = comparable(pairs, [(*BASELINE, against), *((*use, count) for use in USES.values())])
            rows += [
                summarized(compared, (*use, count), (*BASELINE, against)) | {"use": name} for name, use in USES.items()
            ]
    return rows


def results(pairs: Pairs, counts: Sequence[int], default: int, *, default_only: bool = False) -> dict:
    """All figures: the uses of the network, and unless `default_only` the means and the pairs across contrasts."""
    found = {"uses": uses(pairs, counts, default)}
    if default_only:
        return found
    compared = comparable(pairs, variants(counts))
    return found | {
        "means": [summarized(compared, variant, (*REFERENCE, default)) for variant in variants(counts)],
        "across_contrasts": across_contrasts(pairs),
    }
