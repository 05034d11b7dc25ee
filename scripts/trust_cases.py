"""The registrations by which trust is measured: good ones whose error is known, and ones that are broken on purpose.

Key function: `cases_of`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from trust_scans import (
    coarse_scan,
    draw_difficulty,
    end_of,
    mirrored,
    part_of_scan,
    placed,
    scaled_like,
    shuffled,
    synthetic_pair,
)

from GenRegLogic.space.volume import Volume

KNOWN_SEEDS, KNOWN_VOXELS = 4, 600_000
"""Known warps of each pair's scans, by turns a part at full resolution and the whole at a coarser one; their voxels."""

BROKEN_VOXELS = 250_000
"""Voxels of the scans that are broken on purpose."""

LINEAR_SHARE = 9
"""One in so many known warps is registered linearly only."""

STEP_MM = 36.0
"""About the distance of two vertebrae."""

SPINES = ("spine_vb1_07_08", "spine_vb2_05_06", "spine_ivd_11_25")

LIKE = {"mouse": "brain", "hippocampus": "brain", "zebrafish": "brain", "liver": "abdomen"}
"""Scans that show no other body than those."""

GROUPS = ("real", "known", "variant", "level", "unlike", "apart", "mirrored", "turned", "shuffled")
HOPELESS = ("level", "unlike", "apart", "mirrored", "turned", "shuffled")
"""Groups in which no result can be right, whatever is known of its error: "turned" among them, as it starts from the
wrong pose and may not look for another."""

VARIANTS = {
    "linear": {"kind": "affine"},
    "zero": {"iterations": 0},
    "header": {"init": "none", "kind": "affine"},
    "oneway": {"one_way": True},
    "rigid": {"kind": "rigid"},
    "few": {"iterations": 10},
}
OF_LANDMARKS = ("oneway", "rigid", "few")
"""Variants that are run where landmarks tell how good they are."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A registration to be observed.

    Attributes:
        name: Of the run.
        group: One of `GROUPS`.
        scan: The pair whose scans it uses.
        make: Returns the fixed and the moving volume, and the true mapping of (n, 3) points or None.
        settings: That differ from the defaults, or "difficulty": then `make` returns them as a fourth value.
        facts: Stored with the run.
        initial: Matrix (4, 4) to start from, computed from the linear part of the pair's default run; or None.
    """

    name: str
    group: str
    scan: str
    make: Callable
    settings: dict
    facts: dict = dataclasses.field(default_factory=dict)
    initial: Callable | None = None


def cases_of(bench, groups=GROUPS) -> Iterator[Case]:
    """All cases of some groups (see `GROUPS`), from the real pairs (`measuring.Bench`)."""
    makers = {
        "real": real,
        "known": known,
        "variant": variants,
        "level": wrong_levels,
        "unlike": unlike,
        "apart": apart,
        "mirrored": mirrored_scans,
        "turned": turned,
        "shuffled": shuffled_scans,
    }
    for group in groups:
        yield from makers[group](bench)


def _pair(bench, case: str) -> Callable:
    return lambda: (*(Volume.from_file(bench.file(case, role)) for role in ("fixed", "moving")), None)


def _coarse(bench, case: str, role: str) -> Volume:
    return coarse_scan(bench.file(case, role), BROKEN_VOXELS)


def _changed(bench, case: str, change: Callable) -> Callable:
    """The two coarse scans of a pair after `change(fixed, moving)`."""
    return lambda: (*change(*(_coarse(bench, case, role) for role in ("fixed", "moving"))), None)


def real(bench) -> Iterator[Case]:
    """The pairs as they are, with the defaults."""
    for case in bench.cases:
        yield Case(f"real-{case}", "real", case, _pair(bench, case), {})


def variants(bench) -> Iterator[Case]:
    """The pairs with settings that give worse results."""
    for case, about in bench.cases.items():
        for name, settings in VARIANTS.items():
            if name not in OF_LANDMARKS or "fixed_points" in about:
                yield Case(
                    f"variant-{name}-{case}", "variant", case, _pair(bench, case), settings, facts={"variant": name}
                )


def known(bench) -> Iterator[Case]:
    """Scans and themselves after known warps and changes of appearance."""
    for seed in range(KNOWN_SEEDS):
        for number, case in enumerate(bench.cases):
            yield Case(f"known-{case}-{seed}", "known", case, _known(bench, case, seed, number), {})


def _known(bench, case: str, seed: int, number: int) -> Callable:
    def make():
        random = np.random.default_rng([seed, number, 19])
        path = bench.file(case, "fixed" if seed % 2 == 0 and case != "brain_t1_us_warp" else "moving")
        in_part = seed in (0, 3)
        scan = part_of_scan(path, KNOWN_VOXELS, random) if in_part else coarse_scan(path, KNOWN_VOXELS)
        difficulty = draw_difficulty(random)
        pair = synthetic_pair(scan, difficulty, random)
        kind = str(random.choice(["deformable"] * (LINEAR_SHARE - 1) + ["affine"]))
        init = "header" if seed % 2 else "auto"
        return *pair, {"iterations": difficulty.iterations, "init": init, "kind": kind}

    return make


def unlike(bench) -> Iterator[Case]:
    """Scans of two different regions, brought to one size."""

    def region(case: str) -> str:
        word = case.split("_")[0]
        return LIKE.get(word, word)

    random = np.random.default_rng(5)
    for fixed in bench.cases:
        others = [case for case in bench.cases if region(case) != region(fixed)]
        for moving in map(str, random.permutation(others)[:3][:1]):

            def make(fixed=fixed, moving=moving):
                scans = _coarse(bench, fixed, "fixed"), _coarse(bench, moving, "moving")
                return scans[0], scaled_like(scans[1], scans[0]), None

            yield Case(f"unlike-{fixed}-{moving}", "unlike", fixed, make, {}, facts={"other": moving})


def apart(bench) -> Iterator[Case]:
    """The first end of one scan and the last end of the other, which show different things."""
    for case in bench.cases:

        def change(fixed, moving):
            return end_of(fixed, 0.45, first=True), end_of(moving, 0.45, first=False)

        yield Case(f"apart-{case}", "apart", case, _changed(bench, case, change), {})


def mirrored_scans(bench) -> Iterator[Case]:
    """Moving scans mirrored along one axis under an unchanged header."""
    for case in bench.cases:
        for axis in "xz":

            def change(fixed, moving, axis=axis):
                return fixed, mirrored(moving, axis)

            make = _changed(bench, case, change)
            yield Case(f"mirrored-{axis}-{case}", "mirrored", case, make, {}, facts={"axis": axis})


def turned(bench) -> Iterator[Case]:
    """Moving scans in a wrong pose that may not be corrected, with a refinement and without."""
    random = np.random.default_rng(11)
    for case in bench.cases:
        degrees, axis = random.uniform(25, 90), random.normal(size=3)

        def change(fixed, moving, axis=axis, degrees=degrees):
            return fixed, placed(moving, axis, degrees)

        for name, settings in (("zero", {"init": "none", "iterations": 0}), ("full", {"init": "none"})):
            yield Case(
                f"turned-{name}-{case}",
                "turned",
                case,
                _changed(bench, case, change),
                settings,
                facts={"degrees": degrees},
            )


def shuffled_scans(bench) -> Iterator[Case]:
    """Fixed scans whose blocks are in random order."""
    for case in list(bench.cases)[::2]:

        def change(fixed, moving, case=case):
            block = int(np.random.default_rng(len(case)).choice([1, 4, 8, 12]))
            return shuffled(fixed, block), moving

        yield Case(f"shuffled-{case}", "shuffled", case, _changed(bench, case, change), {})


def wrong_levels(bench) -> Iterator[Case]:
    """Spines that start a vertebra up or down from where their default run found them, and may not leave there."""
    for case in SPINES:
        for name, step in (("up", STEP_MM), ("down", -STEP_MM)):

            def initial(linear: np.ndarray, step=step) -> np.ndarray:
                moved = np.array(linear)
                moved[2, 3] += step
                return moved

            yield Case(f"level-{name}-{case}", "level", case, _pair(bench, case), {"init": "none"}, initial=initial)
