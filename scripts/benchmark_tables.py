"""The benchmark's comparison and its tables: pure functions from finished runs to JSON and Markdown.

A run is {"score": {"dice", "tre_mm", "folds_pct", …}, "wall_s", "cpu_s", "peak_mb", …}; values that were not measured
are absent. `compare` combines the runs of all pairs, `to_markdown` makes the page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from measuring import OUTLYING_ROWS, counted, markdown_provenance, markdown_table, mean, median, shown

GENREG = "genreg"
TIMED_AGAINST = "greedy"
"""The peer that GenReg's seconds are compared with."""

AHEAD, WITHIN, BEHIND = "ahead", "within", "behind"
LABELS = {
    "genreg": "GenReg",
    "greedy": "Greedy",
    "greedy-mi": "Greedy NMI",
    "ants": "ANTs",
    "elastix": "elastix",
    "convexadam": "ConvexAdam",
}

FOLDS_LIMIT_PCT, NDV_LIMIT_PCT, INVERSE_LIMIT_MM, CPU_RATIO_LIMIT = 0.0, 0.001, 0.1, 1.0


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measure of accuracy, and the tolerance within which a value counts as equal to the best peer's."""

    key: str
    title: str
    digits: int
    larger_is_better: bool
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0

    def best(self, values: Iterable[float]) -> float:
        return max(values) if self.larger_is_better else min(values)

    def gain(self, own: float, other: float) -> float:
        """How much better the own value is; negative where it is worse."""
        return own - other if self.larger_is_better else other - own

    def standing(self, own: float, other: float) -> str:
        """AHEAD (or equal), WITHIN the tolerance, or BEHIND."""
        gain = self.gain(own, other)
        if gain >= 0:
            return AHEAD
        return WITHIN if -gain <= self.absolute_tolerance + self.relative_tolerance * other + 1e-12 else BEHIND


DICE = Figure("dice", "Dice", 4, larger_is_better=True, absolute_tolerance=0.01)
TRE = Figure("tre_mm", "TRE, mm", 3, larger_is_better=False, relative_tolerance=0.05)
FIGURES = (DICE, TRE)


def best_peer(runs: Mapping[str, Mapping], peers: Sequence[str], figure: Figure) -> tuple[str, float] | None:
    """Name and value of the peer with the best figure on one pair; None if no peer has the figure."""
    values = {
        peer: runs[peer]["score"][figure.key]
        for peer in peers
        if peer in runs and runs[peer]["score"].get(figure.key) is not None
    }
    if not values:
        return None
    best = figure.best(values.values())
    return next(peer for peer, value in values.items() if value == best), best


def compare_case(runs: Mapping[str, Mapping], peers: Sequence[str]) -> dict:
    """GenReg compared with the best peer of one pair, by figure, and its time ratio to `TIMED_AGAINST`."""
    against = {}
    for figure in FIGURES:
        own, best = runs[GENREG]["score"].get(figure.key), best_peer(runs, peers, figure)
        if own is not None and best is not None:
            against[figure.key] = {
                "peer": best[0],
                "value": best[1],
                "difference": round(own - best[1], 6),
                "standing": figure.standing(own, best[1]),
            }
    return {"best_peer": against, "time_ratio": time_ratio(runs[GENREG], runs.get(TIMED_AGAINST, {}))}


def time_ratio(own: Mapping, other: Mapping) -> dict[str, float]:
    """Ratios of wall and CPU seconds, if both were measured in the same session; else empty."""
    if own.get("session") is None or own.get("session") != other.get("session"):
        return {}
    return {key: round(own[f"{key}_s"] / other[f"{key}_s"], 4) for key in ("wall", "cpu")}


def compare(runs: Mapping[str, Mapping[str, Mapping]], peers: Sequence[str]) -> dict:
    """Compare GenReg with its peers over all pairs.

    Args:
        runs: {case: {method: run}}; cases without a run of GenReg are left out and listed.
        peers: Methods to compare with.

    Returns:
        {"cases": {case: {"methods", "best_peer", "time_ratio"}}, "missing", "means", "summary", "goals"}
    """
    cases = {
        name: {"methods": dict(methods)} | compare_case(methods, peers)
        for name, methods in runs.items()
        if GENREG in methods
    }
    missing = [name for name in runs if name not in cases]
    means = {figure.key: mean_figures(cases, peers, figure) for figure in FIGURES}
    summary = _summary(cases)
    return {"cases": cases, "missing": missing, "means": means, "summary": summary, "goals": goals(means, summary)}


def mean_figures(cases: Mapping[str, Mapping], peers: Sequence[str], figure: Figure) -> dict:
    """Mean of a figure over the pairs that have it: of each method, and of the best peer of each pair.

    A peer without a run of every pair is left out, because its mean would be over other pairs than GenReg's. So is a
    pair of which no peer gets anything (0): it would say more of the pair than of the methods.
    """
    best_peers = {name: case["best_peer"].get(figure.key) for name, case in cases.items()}
    scored = {name: cases[name] for name, best in best_peers.items() if best is not None and best["value"] > 0}
    methods = {}
    for method in (GENREG, *peers):
        values = [case["methods"].get(method, {}).get("score", {}).get(figure.key) for case in scored.values()]
        if values and None not in values:
            methods[method] = round(mean(values), 6)
    best = mean(case["best_peer"][figure.key]["value"] for case in scored.values())
    best = None if best is None else round(best, 6)
    return {"pairs": len(scored), "methods": methods, "best_peer_of_each_pair": best}


def _summary(cases: Mapping[str, Mapping]) -> dict:
    own = [case["methods"][GENREG] for case in cases.values()]

    def largest(values: Iterable[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    behind = [
        {"case": name, "figure": key} | found
        for name, case in cases.items()
        for key, found in case["best_peer"].items()
        if found["standing"] == BEHIND
    ]
    return {
        "behind": behind,
        "max_folds_pct": largest(run["score"].get("folds_pct") for run in own),
        "max_ndv_pct": largest(run["score"].get("ndv_pct") for run in own),
        "max_inverse_error_mean_mm": largest(inverse_error(run) for run in own),
        "median_time_ratio": {
            key: median(case["time_ratio"].get(key) for case in cases.values()) for key in ("wall", "cpu")
        },
        "max_peak_mb": largest(run.get("peak_mb") for run in own),
        "verdicts": {name: case["methods"][GENREG].get("verdict") for name, case in cases.items()},
    }


def inverse_error(run: Mapping) -> float | None:
    """Mean inverse consistency error, mm: measured from the written inverse if available, else from the report."""
    checked = run.get("inverse_checked") or {}
    return checked.get("mean_mm", (run.get("inverse_error") or {}).get("mean_mm"))


def goals(means: Mapping, summary: Mapping) -> list[dict]:
    """The project's goals, the values reached, and whether each goal is met (None: not measured)."""
    rows = []
    for figure in FIGURES:
        found = means[figure.key]
        peers = {name: value for name, value in found["methods"].items() if name != GENREG}
        own, best = found["methods"].get(GENREG), found["best_peer_of_each_pair"]
        if own is not None and peers:
            name = next(peer for peer, value in peers.items() if value == figure.best(peers.values()))
            rows.append(
                _goal(
                    f"mean {figure.title} ahead of every peer",
                    f"{shown(own, figure.digits)} against "
                    f"{shown(peers[name], figure.digits)} ({LABELS.get(name, name)})",
                    figure.gain(own, peers[name]) > 0,
                )
            )
        if own is not None and best is not None:
            rows.append(
                _goal(
                    f"mean {figure.title} ahead of the best peer of each pair",
                    f"{shown(own, figure.digits)} against {shown(best, figure.digits)}",
                    figure.gain(own, best) > 0,
                )
            )
    behind = ", ".join(dict.fromkeys(row["case"] for row in summary["behind"]))
    rows.append(_goal("no pair behind its best peer by more than 0.01 Dice or 5 % TRE", behind or "none", not behind))
    for title, key, limit, digits in (
        ("folds, % of voxels: 0.0000", "max_folds_pct", FOLDS_LIMIT_PCT, 4),
        ("NDV, % of voxels: at most 0.001", "max_ndv_pct", NDV_LIMIT_PCT, 4),
        ("mean inverse error, mm: at most 0.1", "max_inverse_error_mean_mm", INVERSE_LIMIT_MM, 4),
    ):
        rows.append(_limit(title, summary[key], limit, digits, "on the worst pair"))
    rows.append(
        _limit(
            "CPU time against Greedy's, median: at most 1",
            summary["median_time_ratio"]["cpu"],
            CPU_RATIO_LIMIT,
            2,
            "over the pairs",
        )
    )
    return rows


def _limit(title: str, value: float | None, limit: float, digits: int, where: str) -> dict:
    if value is None:
        return _goal(title, "not measured", None)
    return _goal(title, f"{shown(value, digits)} {where}", value <= limit)


def _goal(goal: str, reached: str, met: bool | None) -> dict:
    return {"goal": goal, "reached": reached, "met": met}


# Markdown -----------------------------------------------------------------------------------------------------------


def to_markdown(content: Mapping, reasons: Mapping[str, str] | None = None) -> str:
    """The whole page.

    Args:
        content: The result of `compare`, with "peers", "genreg_command", "versions" and the provenance.
        reasons: Case -> an explanation of why GenReg is behind, written by hand.
    """
    cases, means, peers = content["cases"], content["means"], content["peers"]
    parts = [
        "# Benchmark",
        f"{counted(len(cases), 'real pair')}, every method with one fixed setting for all of them; "
        f"GenReg is `{content['genreg_command']}`, with no option per case. Each transform is scored by the "
        "same referee. " + markdown_provenance(content, content["versions"]),
    ]
    parts += ["## Goals", _goals_table(content["goals"])]
    if content["missing"]:
        parts.append(f"Not measured yet: {', '.join(content['missing'])}.")
    parts += [
        "## Accuracy",
        "**Bold**: GenReg is ahead of the best peer of the pair, or equal. ▼: behind by more than "
        "0.01 Dice or 5 % TRE. *Italic*: the best peer. " + _sources(cases, peers),
    ]
    for figure in FIGURES:
        rows = accuracy_rows(cases, means[figure.key], peers, figure)
        if rows:
            header = ["pair", "GenReg", *(LABELS.get(peer, peer) for peer in peers), "best peer", "difference"]
            parts += [f"### {figure.title}", markdown_table(header, rows)]
    parts += [
        *_behind_lines(content["summary"]["behind"], reasons or {}),
        *_narrowly_behind(cases, reasons or {}),
        *_landmark_notes(cases, peers),
    ]
    parts += [
        "## Deformation",
        _deformation_table(cases),
        "Of GenReg. Folds: voxels with det J ≤ 0, central "
        "differences. NDV: any of the eight one-sided determinants ≤ 0. Inverse error: the mean inverse "
        f"consistency error, inside the body{_inverse_source(cases)}.",
    ]
    parts += ["## Time and memory", _time_table(cases), _time_note(content["summary"])]
    return "\n\n".join(parts) + "\n"


def accuracy_rows(
    cases: Mapping[str, Mapping], means: Mapping, peers: Sequence[str], figure: Figure
) -> list[list[str]]:
    """A row for each pair that has the figure, and a row of means."""
    rows = []
    for name, case in cases.items():
        against = case["best_peer"].get(figure.key)
        if against is None:
            continue
        own = shown(case["methods"][GENREG]["score"][figure.key], figure.digits)
        own = {AHEAD: f"**{own}**", WITHIN: own, BEHIND: f"{own} ▼"}[against["standing"]]
        others = []
        for peer in peers:
            text = shown(case["methods"].get(peer, {}).get("score", {}).get(figure.key), figure.digits)
            others.append(f"*{text}*" if peer == against["peer"] else text)
        rows.append(
            [
                name,
                own,
                *others,
                shown(against["value"], figure.digits),
                shown(against["difference"], figure.digits, sign=True),
            ]
        )
    own, best = means["methods"].get(GENREG), means["best_peer_of_each_pair"]
    if rows and own is not None:
        bold = f"**{shown(own, figure.digits)}**" if figure.gain(own, best) >= 0 else shown(own, figure.digits)
        rows.append(
            [
                f"mean of {means['pairs']}",
                bold,
                *(shown(means["methods"].get(peer), figure.digits) for peer in peers),
                shown(best, figure.digits),
                shown(own - best, figure.digits, sign=True),
            ]
        )
    return rows


def _goals_table(rows: Sequence[Mapping]) -> str:
    words = {True: "yes", False: "**no**", None: "–"}
    return markdown_table(["goal", "reached", "met"], [[r["goal"], r["reached"], words[r["met"]]] for r in rows])


def _behind_lines(behind: Sequence[Mapping], reasons: Mapping[str, str]) -> list[str]:
    figures = {figure.key: figure for figure in FIGURES}
    lines = []
    for row in behind:
        figure = figures[row["figure"]]
        lines.append(
            f"- {row['case']}: {shown(abs(row['difference']), figure.digits)} {figure.title} behind "
            f"{LABELS.get(row['peer'], row['peer'])}. {reasons.get(row['case'], '')}".rstrip()
        )
    return ["Behind:\n" + "\n".join(lines)] if lines else []


def _narrowly_behind(cases: Mapping[str, Mapping], reasons: Mapping[str, str]) -> list[str]:
    """The pairs that are behind, but within the tolerance."""
    names = [
        name
        for name, case in cases.items()
        if any(against["standing"] == WITHIN for against in case["best_peer"].values())
    ]
    lines = [f"- {name}: {reasons[name]}" if name in reasons else f"- {name}" for name in names]
    return ["Behind, within that tolerance:\n" + "\n".join(lines)] if lines else []


def _landmark_notes(cases: Mapping[str, Mapping], peers: Sequence[str]) -> list[str]:
    notes = []
    for name, rows in OUTLYING_ROWS.items():
        methods = cases.get(name, {}).get("methods", {})
        values = {
            method: methods[method]["score"].get("tre_mm_without") for method in (GENREG, *peers) if method in methods
        }
        listed = ", ".join(f"{LABELS.get(m, m)} {shown(v, TRE.digits)}" for m, v in values.items() if v is not None)
        if listed:
            notes.append(
                f"{name} without landmarks {' and '.join(map(str, rows))}, where the two scans truly differ "
                f"by 20 mm: TRE {listed} mm."
            )
    return notes


def _deformation_table(cases: Mapping[str, Mapping]) -> str:
    rows = []
    for name, case in cases.items():
        run = case["methods"][GENREG]
        score = run["score"]
        rows.append(
            [
                name,
                shown(score.get("folds_pct"), 4),
                shown(score.get("ndv_pct"), 4),
                shown(score.get("sdlogj"), 3),
                shown(inverse_error(run), 4),
                run.get("verdict") or "–",
            ]
        )
    return markdown_table(["pair", "folds, %", "NDV, %", "SD log J", "inverse error, mm", "verdict"], rows)


def _sources(cases: Mapping[str, Mapping], peers: Sequence[str]) -> str:
    """A sentence on which peers were run, and which scores are published ones."""
    here = [
        peer for peer in peers if any(case["methods"].get(peer, {}).get("source") == "run" for case in cases.values())
    ]
    names = ", ".join(LABELS.get(peer, peer) for peer in here)
    if len(here) == len(peers):
        return "All peers were run beside GenReg."
    others = "The scores of the other peers" if here else "The peers' scores"
    return (f"Run beside GenReg: {names}. " if here else "") + f"{others} are published ones, of the same settings."


def _inverse_source(cases: Mapping[str, Mapping]) -> str:
    checked = sum(bool(case["methods"][GENREG].get("inverse_checked")) for case in cases.values())
    if not checked:
        return ", from the report"
    return ", measured from the written inverse" + ("" if checked == len(cases) else f" on {checked} pairs")


def _time_table(cases: Mapping[str, Mapping]) -> str:
    rows = []
    for name, case in cases.items():
        own, other, ratio = case["methods"][GENREG], case["methods"].get(TIMED_AGAINST, {}), case["time_ratio"]
        other = other if ratio else {}
        rows.append(
            [
                name,
                shown(own.get("wall_s"), 1),
                shown(own.get("cpu_s"), 1),
                shown(other.get("wall_s"), 1),
                shown(other.get("cpu_s"), 1),
                shown(ratio.get("wall"), 2),
                shown(ratio.get("cpu"), 2),
                shown(own.get("peak_mb"), 0),
                shown(other.get("peak_mb"), 0),
            ]
        )
    ratios = [{key: case["time_ratio"].get(key) for key in ("wall", "cpu")} for case in cases.values()]
    rows.append(
        ["median", "", "", "", "", *(shown(median(r[key] for r in ratios), 2) for key in ("wall", "cpu")), "", ""]
    )
    return markdown_table(
        [
            "pair",
            "GenReg wall, s",
            "CPU, s",
            "Greedy wall, s",
            "CPU, s",
            "wall ratio",
            "CPU ratio",
            "GenReg peak, MB",
            "Greedy peak, MB",
        ],
        rows,
    )


def _time_note(summary: Mapping) -> str:
    return (
        "Whole processes, starting and files included, GenReg and Greedy in turn on each pair and with as many "
        "threads. Wall time is that of a machine that may have had other work; CPU time is user and "
        f"system time of all threads. Peak memory of GenReg over the pairs: {shown(summary['max_peak_mb'], 0)} MB."
    )
