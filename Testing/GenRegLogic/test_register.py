"""Whole registrations of small scans whose true mapping is known."""

import importlib
import itertools

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.network.apply import SHA256, Learned
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import AffineTransform, CompositeTransform, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .conftest import FIXED_GRID, MOVING_GRID, STRAIGHT_GRID, Scene, centered, make_scene_pair, motion, rotation

LINEAR = Settings(linear_only=True)
PROPOSAL = Settings(init="header", iterations=0)
QUICK = Settings(init="none", iterations=2)


def shift(x=0.0, y=0.0, z=0.0):
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return AffineTransform(matrix)


def voxel_centers(geometry):
    """(n, 3) LPS mm: some voxel centers, spread over the grid."""
    index = np.array(list(itertools.product(*(np.linspace(0, n - 1, 6).astype(int) for n in geometry.size))))
    return geometry.to_world(index)


class TestResult:
    def test_the_error_falls_below_a_fifth_of_that_of_the_headers(self, registered, pair):
        assert pair.error(registered.forward).mean() < 0.2 * pair.start.mean()

    def test_the_error_falls_for_scans_of_two_contrasts(self, two_contrasts):
        result = register(two_contrasts.fixed, two_contrasts.moving)
        assert result.report["descriptor"] == "mind-ssc+network"
        assert two_contrasts.error(result.forward).mean() < 0.7 * two_contrasts.start.mean()

    @pytest.mark.parametrize(
        ("options", "described", "improved", "named"),
        [
            ({}, True, True, "mind-ssc+network"),
            ({"network": "describe"}, True, False, "mind-ssc+network"),
            ({"network": "propose"}, False, True, "mind-ssc"),
            ({"network": "off"}, False, False, "mind-ssc"),
            ({"iterations": 0}, False, True, "mind-ssc"),
            ({"linear_only": True}, False, False, "mind-ssc"),
        ],
    )
    def test_the_network_is_used_as_the_settings_say_and_the_report_mentions_it(
        self, two_contrasts, monkeypatch, options, described, improved, named
    ):
        used = set()
        for part in ("describe", "improve"):
            whole = getattr(Learned, part)
            monkeypatch.setattr(Learned, part, lambda *given, part=part, whole=whole: used.add(part) or whole(*given))
        report = register(two_contrasts.fixed, two_contrasts.moving, Settings(**{"iterations": 2, **options})).report
        assert ("describe" in used, "improve" in used) == (described, improved)
        assert report["descriptor"] == named
        assert report["versions"].get("network") == (SHA256[:12] if described or improved else None)

    def test_missing_weights_are_refused_before_anything_is_computed(self, pair, monkeypatch, tmp_path):
        monkeypatch.setattr("GenRegLogic.network.apply.WEIGHTS", tmp_path / "network.npz")
        stages = []
        with pytest.raises(InputError, match="weights are missing"):
            register(pair.fixed, pair.moving, on_progress=stages.append)
        assert stages == []

    def test_missing_weights_do_not_matter_without_the_network(self, small_pair, monkeypatch, tmp_path):
        monkeypatch.setattr("GenRegLogic.network.apply.WEIGHTS", tmp_path / "network.npz")
        result = register(small_pair.fixed, small_pair.moving, Settings(network="off", iterations=0))
        assert "network" not in result.report["versions"]

    def test_a_registration_whose_deformation_was_given_up_has_failed(self, small_pair, monkeypatch):
        finish = importlib.import_module("GenRegLogic.stages.finish")
        monkeypatch.setattr(finish, "bad_voxels", lambda field, limit: np.ones(field.geometry.shape, bool))
        monkeypatch.setattr(finish, "MAX_REPAIR_ROUNDS", 2)
        result = register(small_pair.fixed, small_pair.moving, Settings(iterations=2))
        assert result.report["given_up"] == finish.GIVEN_UP
        assert result.report["verdict"]["status"] == "failed"
        assert finish.GIVEN_UP in result.report["verdict"]["reasons"]
        corner, linear = small_pair.fixed.geometry.corners(), result.linear
        np.testing.assert_allclose(result.forward(corner), linear(corner), atol=0.01)

    def test_scans_of_one_contrast_are_compared_by_intensity(self, registered):
        assert registered.report["descriptor"] == "intensity"

    def test_the_field_lies_on_the_fixed_grid(self, registered, pair):
        assert registered.forward.geometry.is_close(pair.fixed.geometry, 1e-9)

    def test_the_field_does_not_fold(self, registered):
        assert registered.report["jacobian"]["folds_pct"] == 0
        assert registered.report["jacobian"]["ndv_pct"] == 0

    def test_the_inverse_consistency_error_is_below_a_tenth_of_a_millimeter(self, registered, pair):
        inverse = registered.inverse()
        assert inverse.geometry.is_close(pair.moving.geometry, 1e-9)
        error = np.linalg.norm(inverse(registered.forward(pair.points)) - pair.points, axis=1)
        assert error.mean() < 0.1

    def test_the_inverse_is_computed_once(self, registered):
        assert registered.inverse() is registered.inverse()

    @pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
    def test_the_warped_scan_has_the_intensities_of_the_fixed_one(self, registered, pair, interpolation):
        warped = registered.warped(interpolation)
        assert warped.geometry.is_close(pair.fixed.geometry, 1e-9)
        index = np.rint(pair.fixed.geometry.to_index(pair.points)).astype(int)
        where = tuple(index[:, ::-1].T)
        fixed = pair.fixed.array[where]
        unaligned = pair.scene(pair.truth.inverse()(pair.fixed.geometry.to_world(index)))
        assert np.abs(warped.array[where] - fixed).mean() < 0.5 * np.abs(unaligned - fixed).mean()

    def test_the_input_arrays_are_not_changed(self):
        grid = centered((20, 18, 19), (6.0, 6.2, 6.8), MOVING_GRID.direction)
        scans = [Volume(Scene().scan(grid).float32(), grid) for _ in range(2)]
        before = [scan.array.copy() for scan in scans]
        register(*scans, LINEAR)
        for scan, array in zip(scans, before):
            np.testing.assert_array_equal(scan.array, array)

    def test_input_arrays_on_canonical_axes_are_not_changed(self, small_pair):
        scan = Volume(small_pair.fixed.float32(), small_pair.fixed.geometry)
        before = scan.array.copy()
        register(scan, scan, LINEAR)
        np.testing.assert_array_equal(scan.array, before)

    def test_a_repeated_run_with_another_seed_gives_the_same_field(self, registered, pair):
        again = register(pair.fixed, pair.moving, Settings(seed=5))
        np.testing.assert_array_equal(again.forward.array, registered.forward.array)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16])
    def test_scans_of_integers_are_registered(self, small_pair, dtype):
        scans = [
            Volume(np.clip(v.array, 0, 255).astype(dtype), v.geometry) for v in (small_pair.fixed, small_pair.moving)
        ]
        result = register(*scans, LINEAR)
        assert small_pair.error(result.forward).mean() < small_pair.start.mean()


@pytest.mark.parametrize("kind", ["rigid", "similarity"])
def test_a_linear_kind_gives_a_mapping_of_that_freedom_and_no_deformation(small_pair, kind):
    result = register(small_pair.fixed, small_pair.moving, Settings(kind=kind, init="header"))
    product = result.linear.matrix[:3, :3] @ result.linear.matrix[:3, :3].T
    scale = 1.0 if kind == "rigid" else product[0, 0]
    np.testing.assert_allclose(product, np.eye(3) * scale, atol=1e-9)
    assert result.report["objective"] == []
    points = small_pair.points[:5]
    np.testing.assert_allclose(result.forward(points), result.linear(points), atol=1e-3)


class TestUnusualScans:
    def test_a_body_of_5_mm_with_voxels_of_0_15_mm_is_registered(self):
        grid = centered((40, 40, 40), (0.15, 0.15, 0.15))
        other = centered((40, 40, 40), (0.15, 0.15, 0.15), center=(0.1, 0.0, -0.1))
        pair = make_scene_pair(grid, other, motion(5.0, 0.4), scene=Scene(5.0))
        result = register(pair.fixed, pair.moving)
        assert pair.error(result.forward).mean() < 0.3 * pair.start.mean()
        assert result.report["jacobian"]["ndv_pct"] == 0

    def test_a_left_handed_moving_scan_is_registered(self):
        grid = centered(MOVING_GRID.size, MOVING_GRID.spacing, np.diag([1.0, 1.0, -1.0]))
        pair = make_scene_pair(moving=grid)
        assert np.linalg.det(grid.direction) < 0
        assert pair.error(register(pair.fixed, pair.moving).forward).mean() < 0.25 * pair.start.mean()

    def test_scans_with_thick_slices_are_registered(self):
        pair = make_scene_pair(centered((60, 52, 22), (2.0, 2.0, 6.0)), centered((56, 20, 56), (2.2, 6.5, 2.2)))
        result = register(pair.fixed, pair.moving)
        assert pair.error(result.forward).mean() < 0.6 * pair.start.mean()
        assert result.report["jacobian"]["ndv_pct"] == 0

    def test_a_moving_scan_that_shows_a_part_of_the_body_is_registered(self):
        pair = make_scene_pair(moving=centered((40, 36, 18), (3.0, 3.1, 3.4), center=(0.0, 0.0, 20.0)))
        result = register(pair.fixed, pair.moving)
        seen = np.abs(pair.points[:, 2] - 20.0) < 20.0
        assert pair.error(result.forward)[seen].mean() < 0.4 * pair.start[seen].mean()

    @pytest.mark.parametrize("step", [1, 2], ids=["as it is", "in thick slices"])
    def test_a_scan_registered_to_itself_does_not_move(self, pair, step):
        scan = Volume(
            pair.fixed.array[::step],
            Geometry(
                (*FIXED_GRID.size[:2], len(pair.fixed.array[::step])),
                (*FIXED_GRID.spacing[:2], step * FIXED_GRID.spacing[2]),
                FIXED_GRID.origin,
                FIXED_GRID.direction,
            ),
        )
        result = register(scan, scan)
        moved = np.linalg.norm(result.forward(pair.points) - pair.points, axis=1)
        assert moved.max() < 0.01 * min(FIXED_GRID.spacing)

    def test_noise_is_registered_to_a_scan_without_folds(self, pair):
        noise = Volume(np.random.default_rng(0).normal(size=STRAIGHT_GRID.shape), STRAIGHT_GRID)
        assert register(pair.fixed, noise, Settings(init="header")).report["jacobian"]["ndv_pct"] == 0

    def test_a_few_missing_values_are_repaired_and_mentioned(self, small_pair):
        array = small_pair.fixed.array.copy()
        array[10, 10, :5] = np.nan
        result = register(Volume(array, small_pair.fixed.geometry), small_pair.moving, LINEAR)
        assert any("were replaced" in sentence for sentence in result.report["warnings"])

    def test_a_constant_scan_is_refused(self, pair):
        with pytest.raises(InputError, match="fixed image is constant"):
            register(Volume(np.ones(FIXED_GRID.shape), FIXED_GRID), pair.moving)


class TestInitialTransform:
    def test_a_linear_initial_transform_is_kept_without_any_alignment(self, small_pair):
        given = shift(3.0, -2.0, 1.0)
        result = register(small_pair.fixed, small_pair.moving, Settings(init="none", linear_only=True), initial=given)
        np.testing.assert_array_equal(result.linear.matrix, given.matrix)

    def test_scans_that_the_given_start_keeps_apart_are_refused_with_advice(self, small_pair):
        far = shift(5000.0)
        with pytest.raises(InputError, match="do not overlap after the initialization; use --init auto, or give"):
            register(small_pair.fixed, small_pair.moving, Settings(init="none", linear_only=True), initial=far)

    def test_a_linear_initial_transform_is_the_start_of_the_registration(self):
        """The bodies are 500 mm apart, so the registration depends on the initial transform."""
        far = centered(STRAIGHT_GRID.size, STRAIGHT_GRID.spacing, center=(500.0, 0.0, 0.0))
        scene = Scene()
        scans = scene.scan(FIXED_GRID), scene.scan(far, lambda p: p - (500.0, 0.0, 0.0), seed=1)
        settings = Settings(init="none", iterations=0)
        result = register(*scans, settings, initial=shift(500.0))
        points = scene.points()
        assert np.linalg.norm(result.forward(points) - points - (500.0, 0.0, 0.0), axis=1).mean() < 1.0

    def test_an_initial_field_is_used(self, pair):
        given = sample_transform(pair.truth, FIXED_GRID)
        result = register(pair.fixed, pair.moving, PROPOSAL, initial=given)
        assert "Proposal: initial" in result.report["notes"][-1]
        assert pair.error(result.forward).mean() < 0.3

    def test_an_initial_field_on_another_grid_is_used(self, pair):
        given = sample_transform(pair.truth, centered((30, 28, 34), (5.0, 5.0, 5.0), rotation(0.4, 0.1, -0.3)))
        result = register(pair.fixed, pair.moving, PROPOSAL, initial=given)
        assert pair.error(result.forward).mean() < 0.4

    def test_an_initial_composite_transform_is_used(self, pair):
        given = CompositeTransform((shift(50.0), shift(-50.0), sample_transform(pair.truth, FIXED_GRID)))
        result = register(pair.fixed, pair.moving, PROPOSAL, initial=given)
        assert pair.error(result.forward).mean() < 0.4

    def test_an_initial_transform_that_mirrors_space_is_refused(self, pair):
        with pytest.raises(InputError, match="mirrors"):
            register(pair.fixed, pair.moving, QUICK, initial=AffineTransform(np.diag([-1.0, 1, 1, 1])))

    def test_a_wrong_initial_field_is_not_used(self, pair):
        wrong = sample_transform(motion(largest_mm=25.0, seed=9), FIXED_GRID)
        result = register(pair.fixed, pair.moving, PROPOSAL, initial=wrong)
        assert "Proposal: initial" not in result.report["notes"][-1]
        assert pair.error(result.forward).mean() < pair.start.mean()


class TestSettings:
    def test_the_field_of_a_linear_registration_is_the_linear_part(self, pair):
        result = register(pair.fixed, pair.moving, LINEAR)
        points = voxel_centers(FIXED_GRID)
        np.testing.assert_allclose(result.forward(points), result.linear(points), atol=2e-3)
        assert result.report["objective"] == []
        assert result.report["jacobian"]["sdlogj"] < 1e-3

    def test_without_iterations_and_network_the_field_is_the_proposed_one(self, pair):
        given = sample_transform(pair.truth, FIXED_GRID)
        result = register(pair.fixed, pair.moving, Settings(iterations=0, network="off"), initial=given)
        assert "Proposal: initial " in result.report["notes"][-1]
        assert result.report["objective"] == []
        np.testing.assert_allclose(result.forward.array, given.array, atol=2e-3)

    def test_iterations_improve_on_the_proposed_field(self, registered, pair):
        proposal = register(pair.fixed, pair.moving, Settings(iterations=0))
        assert pair.error(registered.forward).mean() < pair.error(proposal.forward).mean()

    def test_a_coarser_resolution_gives_a_less_accurate_field_on_the_same_grid(self, registered, pair):
        coarse = register(pair.fixed, pair.moving, Settings(resolution_mm=12.0))
        assert pair.error(registered.forward).mean() < pair.error(coarse.forward).mean() < pair.start.mean()
        assert coarse.forward.geometry.is_close(FIXED_GRID, 1e-9)

    def test_more_smoothness_gives_a_smoother_field(self, pair):
        def spread(smoothness):
            settings = Settings(smoothness=smoothness, iterations=8, init="none")
            return register(pair.fixed, pair.moving, settings).report["jacobian"]["sdlogj"]

        assert spread(2.5) < spread(0.6)

    def test_a_resolution_that_is_too_fine_is_coarsened_with_a_note(self, pair, monkeypatch):
        monkeypatch.setattr("GenRegLogic.machine.estimate.LARGEST_PLAN", 60_000)
        result = register(pair.fixed, pair.moving, Settings(iterations=1, init="none", resolution_mm=0.5))
        assert any("too many voxels" in note for note in result.report["notes"])

    @pytest.mark.parametrize(("agreement", "said"), [(0.9, True), (1.0, False), (0.5, False)])
    def test_contrasts_that_agree_in_part_are_said_to_be_compared_by_edges_too(
        self, small_pair, monkeypatch, agreement, said
    ):
        module = importlib.import_module("GenRegLogic.register")
        monkeypatch.setattr(module, "contrast_agreement", lambda *args: agreement)
        result = register(small_pair.fixed, small_pair.moving, Settings(iterations=1, init="none"))
        assert any("beside the intensities" in note for note in result.report["notes"]) == said

    def test_the_callers_random_generator_is_not_advanced(self, small_pair):
        torch.manual_seed(7)
        wanted = torch.rand(3)
        torch.manual_seed(7)
        register(small_pair.fixed, small_pair.moving, LINEAR)
        assert torch.equal(torch.rand(3), wanted)

    def test_the_callers_number_of_threads_is_restored(self, small_pair):
        before = torch.get_num_threads()
        register(small_pair.fixed, small_pair.moving, Settings(linear_only=True, init="none", threads=before + 1))
        assert torch.get_num_threads() == before

    @pytest.mark.parametrize(("few", "expected"), [(10**9, 1), (1, 2)], ids=["a small scan", "a large scan"])
    def test_a_small_scan_is_registered_by_one_thread(self, small_pair, monkeypatch, few, expected):
        module = importlib.import_module("GenRegLogic.register")  # the name alone is the function
        monkeypatch.setattr(module, "FEW_VOXELS", few)
        monkeypatch.setattr(module, "possible_threads", lambda wanted: wanted)
        seen = []
        settings = Settings(linear_only=True, init="none", threads=2)
        register(
            small_pair.fixed, small_pair.moving, settings, on_progress=lambda _: seen.append(torch.get_num_threads())
        )
        assert set(seen) == {expected}

    def test_an_unavailable_device_is_refused(self, pair, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match="No CUDA GPU"):
            register(pair.fixed, pair.moving, Settings(device="cuda"))


@pytest.mark.parametrize(("name", "thing"), [("settings", 1j), ("settings", {}), ("initial", 7), ("initial", [1, 2])])
def test_arguments_of_another_type_are_named(pair, name, thing):
    with pytest.raises(InputError, match=f"{name} is of type {type(thing).__name__}"):
        register(pair.fixed, pair.moving, **{name: thing})


def test_the_default_type_of_torch_changes_nothing_and_is_kept(pair):
    settings = Settings(iterations=0, linear_only=True, network="off")
    plain = register(pair.fixed, pair.moving, settings).forward.array
    torch.set_default_dtype(torch.float64)
    try:
        changed = register(pair.fixed, pair.moving, settings).forward.array
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(changed, plain)
