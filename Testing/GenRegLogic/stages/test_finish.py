"""The final field on the fixed scan's grid, and the repair of its folds."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Cancelled, GenRegError
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image, canonical_geometry
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.split import with_linear
from GenRegLogic.stages.finish import full_field

from ..conftest import FIXED_GRID, LINEAR, MOVING_GRID, Scene, stored_otherwise, working_field

CPU = torch.device("cpu")


def pinched(geometry=FIXED_GRID, strength=1.6):
    """A u that folds in the middle: points within some voxels of the center are displaced beyond it."""
    grid = canonical_geometry(geometry)
    z, y, x = torch.meshgrid(*(torch.arange(float(n)) - n // 2 for n in grid.shape), indexing="ij")
    places = torch.stack([x, y, z]) * torch.tensor(grid.spacing).view(3, 1, 1, 1)
    width = 3 * min(grid.spacing)
    return Image((-strength * places * torch.exp(-(places**2).sum(dim=0) / (2 * width**2))).float(), grid)


class TestFullField:
    def test_a_field_without_folds_is_not_changed(self, stored, make_field):
        working = working_field(stored, make_field, 0.3)
        field, repaired = full_field(working, LINEAR, stored)
        assert repaired == 0
        np.testing.assert_array_equal(field.array, with_linear(working, LINEAR, stored).rounded().array)

    @pytest.mark.parametrize("linear", [np.eye(4), LINEAR], ids=["alone", "under a linear part"])
    @pytest.mark.parametrize("strength", [1.1, 1.6, 4.0])
    def test_a_fold_is_repaired(self, linear, strength):
        working = pinched(strength=strength)
        before = jacobian_figures(with_linear(working, linear, FIXED_GRID))
        field, repaired = full_field(working, linear, FIXED_GRID)
        after = jacobian_figures(field)
        assert before["ndv_pct"] > 0
        assert after["folds_pct"] == 0
        assert after["ndv_pct"] == 0
        assert repaired > 0

    def test_a_fold_of_a_scan_in_another_order_is_repaired(self):
        scan = stored_otherwise(Scene().scan(MOVING_GRID), (1, 2, 0), (1,))
        field, repaired = full_field(pinched(scan.geometry), np.eye(4), scan.geometry)
        assert repaired > 0
        assert jacobian_figures(field)["ndv_pct"] == 0

    def test_far_from_the_fold_the_field_is_not_changed(self):
        working = pinched()
        field, _ = full_field(working, np.eye(4), FIXED_GRID)
        before = with_linear(working, np.eye(4), FIXED_GRID).rounded()
        np.testing.assert_array_equal(field.array[:6], before.array[:6])
        np.testing.assert_array_equal(field.array[-6:], before.array[-6:])

    def test_the_folds_of_a_noisy_field_are_repaired(self):
        grid = Geometry((24, 22, 20), (2.0, 2.0, 2.0))
        noise = 2 * torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(0))
        field, repaired = full_field(Image(noise, grid), np.eye(4), grid)
        assert repaired > 0
        assert jacobian_figures(field)["ndv_pct"] == 0

    def test_a_field_that_smoothing_cannot_repair_is_weakened_until_it_does_not_fold(self):
        grid = canonical_geometry(FIXED_GRID)
        noise = torch.from_numpy(np.random.default_rng(5).normal(0, 60, (3, *grid.shape)).astype(np.float32))
        sentences = []
        field, repaired = full_field(Image(noise, grid), np.eye(4), FIXED_GRID, warn=sentences.append)
        assert repaired > 0
        assert jacobian_figures(field)["ndv_pct"] == 0
        assert sentences == []
        assert np.abs(field.array).max() > 0

    def test_a_field_that_no_round_repairs_is_replaced_by_the_linear_part(self, monkeypatch):
        monkeypatch.setattr("GenRegLogic.stages.finish.MAX_REPAIR_ROUNDS", 1)
        sentences = []
        field, repaired = full_field(pinched(strength=20.0), LINEAR, FIXED_GRID, warn=sentences.append)
        assert repaired > 0
        grid = canonical_geometry(FIXED_GRID)
        alone = with_linear(Image(torch.zeros(3, *grid.shape), grid), LINEAR, FIXED_GRID).rounded()
        np.testing.assert_array_equal(field.array, alone.array)
        assert len(sentences) == 1
        assert "linear alignment alone" in sentences[0]

    def test_a_repair_reports_rising_fractions_and_no_warning(self):
        fractions, sentences = [], []
        full_field(pinched(), np.eye(4), FIXED_GRID, tell=fractions.append, warn=sentences.append)
        assert fractions == sorted(set(fractions))
        assert len(fractions) > 1
        assert sentences == []

    def test_an_exception_of_the_callback_ends_the_repair(self):
        def cancel(fraction):
            raise Cancelled("stop")

        with pytest.raises(Cancelled):
            full_field(pinched(), np.eye(4), FIXED_GRID, tell=cancel)

    def test_the_repaired_field_is_rounded_as_in_files(self):
        field, _ = full_field(pinched(), LINEAR, FIXED_GRID)
        np.testing.assert_array_equal(field.array, field.rounded().array)

    def test_a_mapping_that_mirrors_space_is_refused(self):
        grid = Geometry((8, 8, 8))
        with pytest.raises(GenRegError, match="folds"):
            full_field(Image(torch.zeros(3, 8, 8, 8), grid), np.diag([-1.0, 1.0, 1.0, 1.0]), grid)
