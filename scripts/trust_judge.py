"""Judges observed runs by fits that have not seen their scans, and writes what came out as a page.

Key functions: `judged` (a row for each run), `figures`, `to_markdown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import trust_fit
from measuring import markdown_table, shown
from trust_cases import HOPELESS
from trust_runs import Observations, Sample, mapped

from GenRegLogic.quality.calibration import Calibration, expected_quantiles, summed_up
from GenRegLogic.quality.verdict import TRUSTWORTHY, default_tolerance, verdict
from GenRegLogic.space.geometry import Geometry

GOOD_SHARE, BAD_SHARE = 0.9, 0.75
"""Share of true errors within the tolerance from which a result is good, and below which it is broken; between the two,
neither verdict is wrong."""

SEEN = {
    "T1–T2, one head": ("real-brain_t1_t2_warp", "trustworthy, error about 0.45 mm"),
    "liver, breathing 16 mm": ("real-liver_mr_eth18", "check"),
    "the same, linear only": ("variant-linear-liver_mr_eth18", "check or failed"),
    "lung, linear only": ("variant-linear-lung_ct_elastix", "check or failed"),
    "lung, nothing registered": ("variant-header-lung_ct_elastix", "check or failed"),
    "unlike bodies": ("unlike-brain_head_1000_1001", "check or failed"),
    "zebrafish": ("real-zebrafish_fish1_fish3", "trustworthy: within two voxels"),
}
"""Rows of the list that this calibration set out to put right: the run, and what is right."""


LANDMARK_HEAD = (
    "pair",
    "expected, mm",
    "true, mm",
    "ratio",
    "below the stated 95 %",
    "expected within the tolerance",
    "truly",
    "verdict",
)


def judged(samples: Sequence[Sample], observations: Observations) -> list[dict]:
    """A row for each run: expected and true error, share within the tolerance, verdict.

    The true error of a variant without landmarks is its distance from the default result of its pair; no fit uses it.
    """
    fits = trust_fit.held_out(samples)
    return [judgment(s, fits[s.families], observations) for s in samples if "inputs" in s.about["report"]]


def judgment(sample: Sample, fitted: Calibration, observations: Observations | None) -> dict:
    """The row of one run, by a fit; only variants without landmarks need the other observations."""
    report = sample.about["report"]
    grids = [Geometry.from_dict(report["inputs"][role]) for role in ("fixed", "moving")]
    tolerance = default_tolerance(*grids)
    places = {
        name: value if name.startswith("median_") else value[sample.inside] for name, value in sample.evidence.items()
    }
    row = {"name": sample.name, "group": sample.group, "scan": sample.scan, "tolerance_mm": tolerance, "broken": None}
    confidence = None
    if sample.inside.any():
        expected = trust_fit.predicted(sample, places, fitted)
        confidence = summed_up(expected, tolerance, sample.voxel_mm, fitted)
        confidence["judged_share"] = float(sample.inside.mean())
        row |= {"expected_mm": confidence["mean_mm"], "within": confidence["within_share"]}
    status, reasons = verdict(report | {"confidence": confidence})
    row |= {"status": status, "reasons": reasons}
    truth = trust_fit.known_errors(sample)
    if truth is not None:
        found, error = truth
        expected = trust_fit.predicted(sample, found, fitted)
        row |= _compared(expected, error, sample, fitted)
    elif sample.group == "variant":
        error = _from_default(sample, observations)
    else:
        error = None
    if error is not None:
        within = float(np.mean(error <= tolerance))
        row["true_within"] = within
        if within < BAD_SHARE or within >= GOOD_SHARE:
            row["broken"] = within < BAD_SHARE
    if sample.group in HOPELESS:
        row["broken"] = True
    return row


def _compared(expected: np.ndarray, error: np.ndarray, sample: Sample, fitted: Calibration) -> dict:
    (stated,) = expected_quantiles(expected, (0.95,), sample.voxel_mm, fitted)
    return {
        "true_mm": float(error.mean()),
        "expected_there_mm": float(expected.mean()),
        "covered": float(np.mean(error <= stated)),
        "rank": trust_fit.rank_correlation(expected, error),
        "landmarks": sample.error is None,
    }


def _from_default(sample: Sample, observations: Observations) -> np.ndarray:
    """Distance, mm, in the body between a variant and the default result of its pair."""
    arrays, _ = observations.get(sample.name)
    default, _ = observations.get(f"real-{sample.scan}")
    apart = np.linalg.norm(mapped(arrays) - mapped(default), axis=1) if _same_grid(arrays, default) else None
    if apart is None:
        from trust_runs import grid_of

        grid = grid_of(arrays)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), -1).reshape(-1, 3)
        points = grid.to_world(index)
        weight = arrays["weight"][index[:, 2], index[:, 1], index[:, 0]] > 0
        points = points[weight][:: max(1, int(weight.sum()) // 2000)]
        return np.linalg.norm(mapped(arrays, points) - mapped(default, points), axis=1)
    return apart[arrays["weight"].ravel() > 0]


def _same_grid(one: dict, other: dict) -> bool:
    return str(one["grid"]) == str(other["grid"])


def figures(samples: Sequence[Sample], rows: list[dict]) -> dict:
    """Everything that the page shows."""
    compared = [row for row in rows if "covered" in row]
    costs = [s.about["cost"] for s in samples if "cost" in s.about]
    deformed = [row for row in compared if row["group"] == "known"]
    good = [row for row in rows if row["broken"] is False]
    broken = [row for row in rows if row["broken"]]
    fitted = trust_fit.shipped(samples)
    return {
        "runs": len(rows),
        "spread": fitted.spread,
        "cost": [float(np.median(costs)), float(np.max(costs)), len(costs)] if costs else None,
        "coverage": {
            group: float(np.mean([row["covered"] for row in compared if row["group"] == group]))
            for group in dict.fromkeys(row["group"] for row in compared)
        },
        "coverage_all": float(np.mean([row["covered"] for row in compared])),
        "rank_known": float(np.median([row["rank"] for row in deformed])) if deformed else None,
        "landmarks": [row for row in compared if row["landmarks"] and row["group"] == "real"],
        "good": len(good),
        "trusted_good": sum(row["status"] == TRUSTWORTHY for row in good),
        "broken": len(broken),
        "trusted_broken": sorted(row["name"] for row in broken if row["status"] == TRUSTWORTHY),
        "groups": [_group(rows, group) for group in dict.fromkeys(row["group"] for row in rows)],
        "rows": rows,
    }


def _group(rows: Iterable[dict], group: str) -> dict:
    own = [row for row in rows if row["group"] == group]
    counts = {status: sum(row["status"] == status for row in own) for status in ("failed", "check", "trustworthy")}
    return {
        "group": group,
        "runs": len(own),
        "broken": sum(row["broken"] is True for row in own),
        "good": sum(row["broken"] is False for row in own),
        "trusted_broken": sum(row["broken"] is True and row["status"] == TRUSTWORTHY for row in own),
        "trusted_good": sum(row["broken"] is False and row["status"] == TRUSTWORTHY for row in own),
        **counts,
    }


def to_markdown(content: dict) -> str:
    """The page."""
    c = content
    marks = [
        [
            row["scan"],
            shown(row["expected_there_mm"], 2),
            shown(row["true_mm"], 2),
            shown(row["expected_there_mm"] / row["true_mm"], 2),
            shown(row["covered"], 2),
            shown(row["within"], 2),
            shown(row["true_within"], 2),
            row["status"],
        ]
        for row in c["landmarks"]
    ]
    keys = ("runs", "failed", "check", "trustworthy", "broken", "trusted_broken", "good", "trusted_good")
    groups = [[row["group"], *(str(row[key]) for key in keys)] for row in c["groups"]]
    coverage = ", ".join(f"{group} {100 * share:.1f} %" for group, share in c["coverage"].items())
    by_name = {row["name"]: row for row in c["rows"]}
    seen = []
    for label, (name, right) in SEEN.items():
        row = next((by_name[key] for key in by_name if key.startswith(name)), None)
        if row is not None:
            numbers = (shown(row.get(key), 2) for key in ("expected_mm", "true_mm", "within"))
            seen.append([label, *numbers, row["status"], right])
    trusted = ", ".join(c["trusted_broken"]) or "none"
    cost = ""
    if c.get("cost"):
        median, most, count = c["cost"]
        cost = f"- It takes {median:.2f} of the CPU time of its run, at most {most:.2f} ({count} runs)."
    return f"""# How true the expected error and the verdict are

{c["runs"]} runs, each judged by a fit that has seen no run of its scans and subjects. Measured {c["created"]} with
`{c["command"]}` at commit {c["commit"]}.

- Of the true errors **{100 * c["coverage_all"]:.1f} %** lie below what is stated for 95 % of the places (mean of the
  runs whose error is known; {coverage}).
- Rank correlation within a run, on known warps: **{shown(c["rank_known"], 2)}** (median of the runs).
{cost}
- **{len(c["trusted_broken"])} of {c["broken"]}** broken results are called trustworthy ({trusted}), and
  **{c["trusted_good"]} of {c["good"]}** good ones. Good: at least {100 * GOOD_SHARE:.0f} % of the true errors are
  within the tolerance; broken: under {100 * BAD_SHARE:.0f} %, or no result can be right. The true error of a variant
  without landmarks is taken to be its distance from the default result; no fit uses it. The limits of the verdict were
  chosen on such runs as these: only the constants of the error are held out.

## Landmarks of the real pairs

{markdown_table(LANDMARK_HEAD, marks)}

The landmarks have errors of their own, which no registration can undo: the two templates of T1–CT agree to about 2 mm,
and the fiducials of MNI–Colin were placed by hand.

## Verdicts by kind of run

{markdown_table(["kind", *(key.replace("_", " ") for key in keys)], groups)}

## What had been wrong

{markdown_table(["what", "expected, mm", "true, mm", "expected within the tolerance", "verdict", "right"], seen)}
"""
