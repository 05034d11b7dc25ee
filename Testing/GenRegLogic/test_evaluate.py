"""The figures of `evaluate`, compared with the project's referee where it is beside the checkout."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.evaluate import evaluate
from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.points import read_points, write_points
from GenRegLogic.files.transforms import read_transform, write_transform
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.space.warp import warp_image

REFEREE = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "score.py"


@pytest.fixture(scope="module")
def referee():
    if not REFEREE.is_file():
        pytest.skip("the referee ../shared/bench/score.py is not beside this checkout")
    spec = importlib.util.spec_from_file_location("score", REFEREE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def case(tmp_path, grid, make_volume, make_points):
    """A pair with labels and landmarks, as files in a folder."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 4, (3, 3, 3)).astype(np.uint8)
    labels = coarse[np.ix_(*(np.arange(n) * 3 // n for n in grid.shape))]
    for role, seed in (("fixed", 0), ("moving", 1)):
        write_volume(make_volume(grid, seed=seed), tmp_path / f"{role}.nrrd")
        write_volume(Volume(np.roll(labels, seed, axis=1), grid), tmp_path / f"{role}_labels.nrrd")
        write_points(make_points(grid, 20, margin=2.0, seed=seed), tmp_path / f"{role}_points.csv")
    names = {
        f"{r}{w}": f"{r}{w}{e}"
        for r in ("fixed", "moving")
        for w, e in (("", ".nrrd"), ("_labels", ".nrrd"), ("_points", ".csv"))
    }
    return {"name": "synthetic", "labels": [1, 2, 3]} | names


def read_case(folder, case):
    volumes = {r: read_volume(folder / case[r]) for r in ("fixed", "moving", "fixed_labels", "moving_labels")}
    return volumes | {r: read_points(folder / case[r]) for r in ("fixed_points", "moving_points")}


@pytest.mark.parametrize("amplitude", [1.0, 6.0], ids=["without folds", "with folds"])
@pytest.mark.parametrize("ending", [".nrrd", ".h5"])
def test_all_figures_agree_with_the_referee(referee, tmp_path, case, grid, make_field, amplitude, ending):
    path = tmp_path / f"t{ending}"
    write_transform(make_field(grid, amplitude), path)
    expected = referee.score(case, tmp_path, path)
    figures = evaluate(transform=read_transform(path), pairs=case["labels"], **read_case(tmp_path, case))
    for name in ("dice", "dice_min", "tre_mm", "tre_p90_mm", "folds_pct", "ndv_pct", "sdlogj"):
        assert figures[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


def test_the_figures_of_the_identity_agree_with_the_referee(referee, tmp_path, case):
    expected = referee.score(case, tmp_path, "identity")
    figures = evaluate(transform=AffineTransform.identity(), pairs=case["labels"], **read_case(tmp_path, case))
    for name in ("dice", "dice_min", "tre_mm", "tre_p90_mm", "folds_pct", "ndv_pct", "sdlogj"):
        assert figures[name] == pytest.approx(expected[name], abs=1e-6), name
    assert figures["tre_before_mm"] == figures["tre_mm"]
    assert figures["nmi_before"] == pytest.approx(figures["nmi_after"], rel=1e-6)


def test_a_perfect_transform_has_perfect_figures(grid, make_field, make_volume, make_points):
    field, moving = make_field(grid), make_volume(grid)
    fixed, points = warp_image(moving, field, grid), make_points(grid, 20, margin=2.0)
    figures = evaluate(fixed, moving, field, fixed_points=points, moving_points=field(points))
    assert figures["tre_mm"] == pytest.approx(0.0, abs=1e-6)
    assert figures["nmi_after"] > 1.7  # 2 but for what interpolation onto the common grid changes
    assert figures["lncc_after"] > 0.94
    assert figures["inverse_mean_mm"] < 0.05 * min(grid.spacing)  # which is interpolated too


class TestAgreement:
    """With the report of a registration."""

    def test_the_figures_are_those_of_the_report(self, pair, registered):
        figures, report = evaluate(pair.fixed, pair.moving, registered.forward), registered.report
        for when in ("before", "after"):
            assert figures[f"nmi_{when}"] == pytest.approx(report["similarity"][when]["nmi"], abs=0.005)
            assert figures[f"lncc_{when}"] == pytest.approx(report["similarity"][when]["lncc"], abs=0.005)
        for name in ("folds_pct", "ndv_pct", "sdlogj", "min_det", "max_det"):
            assert figures[name] == pytest.approx(report["jacobian"][name], rel=1e-5), name
        assert figures["inverse_mean_mm"] == pytest.approx(report["inverse_error"]["mean_mm"], rel=0.01)
        assert figures["inverse_max_mm"] == pytest.approx(report["inverse_error"]["max_mm"], rel=0.01)

    def test_with_the_mask_of_the_run_they_are_those_of_the_report(self, small_pair):
        mask = np.zeros(small_pair.fixed.array.shape, np.uint8)
        mask[6:20, 5:17, 5:19] = 1
        mask = Volume(mask, small_pair.fixed.geometry)
        run = register(small_pair.fixed, small_pair.moving, Settings(linear_only=True), fixed_mask=mask)
        with_mask, without = (evaluate(small_pair.fixed, small_pair.moving, run.forward, mask=m) for m in (mask, None))
        after = run.report["similarity"]["after"]
        assert with_mask["lncc_after"] == pytest.approx(after["lncc"], abs=0.001)
        assert abs(without["lncc_after"] - after["lncc"]) > 0.005


class TestMask:
    @pytest.fixture
    def half_alike(self, make_volume):
        """A grid, and two scans on it that are equal in the upper half only."""
        grid = Geometry((30, 30, 40))
        fixed, other = make_volume(grid), make_volume(grid, seed=7)
        moving = np.where(np.arange(40)[:, None, None] < 20, other.array, fixed.array)
        return grid, fixed, Volume(moving, grid)

    @pytest.mark.parametrize(("slab", "alike"), [(slice(24, 38), True), (slice(2, 16), False)])
    def test_the_similarity_is_that_of_the_voxels_in_the_mask(self, half_alike, slab, alike):
        grid, fixed, moving = half_alike
        mask = np.zeros(grid.shape, np.uint8)
        mask[slab] = 1
        figures = evaluate(fixed, moving, AffineTransform.identity(), mask=Volume(mask, grid))
        assert (figures["lncc_after"] > 0.9) == alike
        assert (figures["nmi_after"] > 1.8) == alike

    def test_the_inverse_is_measured_in_the_mask(self, make_volume):
        grid = Geometry((30, 30, 40))
        array = np.zeros((*grid.shape, 3), np.float32)
        array[:15, ..., 0] = np.sin(np.arange(30))  # so short a wave that the inverse cannot be interpolated
        upper, lower = (np.zeros(grid.shape, np.uint8) for _ in range(2))
        upper[22:38], lower[2:12] = 1, 1
        image, field = make_volume(grid), DisplacementField(array * 0.6, grid)
        still, moved = (evaluate(image, image, field, mask=Volume(mask, grid)) for mask in (upper, lower))
        assert still["inverse_max_mm"] < 0.01  # the solver's tolerance
        assert moved["inverse_max_mm"] > 0.03

    def test_an_empty_mask_is_refused(self, grid, make_volume):
        image = make_volume(grid)
        with pytest.raises(InputError, match="mask is empty"):
            evaluate(image, image, AffineTransform.identity(), mask=Volume(np.zeros(grid.shape, np.uint8), grid))


def test_scans_that_do_not_overlap_are_unrelated_before_and_unknown_after(make_volume):
    near, far = Geometry((20, 20, 20)), Geometry((20, 20, 20), origin=(500.0, 0.0, 0.0))
    figures = evaluate(make_volume(near), make_volume(far), AffineTransform.identity())
    assert (figures["nmi_before"], figures["lncc_before"]) == (1.0, 0.0)
    assert np.isnan([figures["nmi_after"], figures["lncc_after"]]).all()


def test_a_field_on_another_grid_is_resampled_to_the_fixed_grid(grid, oblique_grid, make_field, make_volume):
    still = DisplacementField(np.zeros((*oblique_grid.shape, 3)), oblique_grid)
    figures = evaluate(make_volume(grid), make_volume(grid), still)
    assert figures["min_det"] == figures["max_det"] == 1.0


def test_by_default_the_labels_that_both_maps_have_are_compared(grid, make_volume):
    image = make_volume(grid)
    a, b = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.uint8)
    a[2:6], a[8], b[2:6], b[10] = 1, 5, 1, 6
    figures = evaluate(
        image, image, AffineTransform.identity(), fixed_labels=Volume(a, grid), moving_labels=Volume(b, grid)
    )
    assert figures["dice_per_label"] == {"1": 1.0}
    assert figures["dice"] == figures["dice_min"] == 1.0


def test_label_maps_without_a_common_label_are_refused(grid, make_volume):
    image, zeros = make_volume(grid), np.zeros(grid.shape, np.uint8)
    with pytest.raises(InputError, match="no label in common"):
        evaluate(
            image,
            image,
            AffineTransform.identity(),
            fixed_labels=Volume(zeros + 1, grid),
            moving_labels=Volume(zeros + 2, grid),
        )


@pytest.mark.parametrize("given", ["fixed_points", "moving_points"])
def test_landmarks_of_one_scan_alone_are_refused(grid, make_volume, make_points, given):
    image = make_volume(grid)
    with pytest.raises(InputError, match="points of both scans"):
        evaluate(image, image, AffineTransform.identity(), **{given: make_points(grid)})
