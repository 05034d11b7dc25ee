"""The ablation's page: Markdown tables of the figures of `ablation_tables`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ablation_tables import (
    ACROSS,
    BARS,
    BASELINE,
    COMPARISONS,
    PROPOSALS,
    REFERENCE,
    SEARCH,
    STARTS,
    USES,
    WITH,
    WITHOUT,
    Pairs,
    value,
)
from benchmark_tables import BEHIND, DICE, FIGURES, TRE, Figure
from measuring import counted, markdown_provenance, markdown_table, mean, shown

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
    """The page: uses of the network and every pair; and if measured, pairs across contrasts and means."""
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
    """Cells of one pair: accuracy without the network and of its uses, and their relative CPU seconds."""
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
    """A sentence on a pair: its grid, the scores of its proposals, and the choices of the data."""
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
