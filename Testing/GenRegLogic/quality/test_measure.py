"""Figures of quality, compared with plain formulas in double precision."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.quality.measure import dice, inverse_error, lncc, nmi, tre
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.space.inverse import invert
from GenRegLogic.space.volume import Volume


class TestDice:
    def test_dice_is_computed_per_label(self):
        a = np.array([[[0, 1, 1, 1, 2, 2]]])
        b = np.array([[[1, 1, 1, 0, 2, 3]]])
        assert dice(a, b) == pytest.approx({1: 4 / 6, 2: 2 / 3, 3: 0.0})

    def test_dice_agrees_with_simpleitk(self, oblique_grid):
        random = np.random.default_rng(0)
        a, b = (random.integers(0, 5, oblique_grid.shape).astype(np.uint8) for _ in range(2))
        measure = sitk.LabelOverlapMeasuresImageFilter()
        measure.Execute(Volume(a, oblique_grid).to_sitk(), Volume(b, oblique_grid).to_sitk())
        assert dice(a, b) == pytest.approx({n: measure.GetDiceCoefficient(n) for n in range(1, 5)})

    def test_pairs_compare_labels_with_different_numbers(self):
        a, b = np.array([[[5, 5, 0]]]), np.array([[[7, 0, 0]]])
        assert dice(a, b, [(5, 7)]) == {5: pytest.approx(2 / 3)}

    def test_the_dice_of_a_label_that_neither_map_has_is_nan(self):
        assert math.isnan(dice(np.ones((2, 2, 2), int), np.ones((2, 2, 2), int), [9])[9])

    @pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint64, np.int8])
    def test_labels_of_any_numeric_type_are_accepted(self, dtype):
        labels = np.array([[[0, 1, 2, 2]]]).astype(dtype)
        assert dice(labels, labels) == {1: 1.0, 2: 1.0}

    def test_negative_and_very_large_labels_are_accepted(self):
        labels = np.array([[[-5, 0, 2_000_000_000]]])
        assert dice(labels, labels) == {-5: 1.0, 2_000_000_000: 1.0}

    def test_fractional_labels_are_refused(self):
        with pytest.raises(InputError, match="whole numbers"):
            dice(np.array([[[0.5]]]), np.array([[[1.0]]]))

    def test_different_sizes_are_refused(self):
        with pytest.raises(InputError, match="different sizes"):
            dice(np.ones((2, 2, 2), int), np.ones((3, 2, 2), int))


class TestTre:
    def test_the_error_is_the_distance_from_mapped_to_moving_landmarks(self, affine, grid, make_points):
        points = make_points(grid, 10)
        target = affine(points) + (3.0, 0.0, 4.0)
        np.testing.assert_allclose(tre(points, target, affine), 5.0, atol=1e-9)

    def test_unequal_counts_are_refused(self, affine):
        with pytest.raises(InputError, match="2 fixed but 3 moving"):
            tre(np.zeros((2, 3)), np.zeros((3, 3)), affine)


class TestInverseError:
    def test_the_error_of_an_exact_inverse_is_zero(self, affine, grid, make_points):
        error = inverse_error(affine, affine.inverse(), points=make_points(grid))
        assert error.max_mm < 1e-9

    def test_the_error_of_an_uninverted_shift_is_its_length(self, grid):
        shift = np.eye(4)
        shift[:3, 3] = (3.0, 0.0, 4.0)
        error = inverse_error(AffineTransform(shift), AffineTransform.identity(), geometry=grid)
        assert error.mean_mm == pytest.approx(5.0, rel=1e-4)
        assert error.max_mm == pytest.approx(5.0, rel=1e-4)

    def test_a_mask_restricts_the_measured_voxels(self, grid, make_field):
        field = make_field(grid)
        inverse = invert(field)[0]
        middle = np.zeros(grid.shape, bool)
        middle[5:-5, 5:-5, 5:-5] = True
        inside = inverse_error(field, inverse, geometry=grid, mask=middle)
        points = grid.to_world(np.argwhere(middle)[:, ::-1])
        assert inside.mean_mm == pytest.approx(inverse_error(field, inverse, points=points).mean_mm, rel=0.05)
        assert inside.max_mm < 0.2 * min(grid.spacing)  # the error of the inverse's linear interpolation

    def test_the_error_at_no_points_is_nan(self, affine):
        assert math.isnan(inverse_error(affine, affine.inverse(), points=np.zeros((0, 3))).mean_mm)


class TestSimilarity:
    @pytest.fixture
    def images(self, oblique_grid, make_volume):
        return make_volume(oblique_grid, seed=0).array, make_volume(oblique_grid, seed=1).array

    def test_nmi_of_an_image_with_itself_is_two(self, images):
        assert nmi(images[0], images[0]) == pytest.approx(2.0)

    def test_nmi_does_not_depend_on_a_linear_change_of_contrast(self, images):
        assert nmi(images[0], 7.0 - 3.0 * images[0]) == pytest.approx(2.0, abs=0.01)

    def test_nmi_of_unrelated_images_is_nearly_one(self):
        random = np.random.default_rng(0)
        assert nmi(random.random((40, 40, 40)), random.random((40, 40, 40))) < 1.02

    def test_nmi_with_a_constant_image_is_one(self, images):
        flat = np.full_like(images[0], 7.0)
        assert nmi(images[0], flat) == pytest.approx(1.0)
        assert nmi(flat, flat) == 1.0

    def test_nmi_agrees_with_its_formula(self, images):
        a, b = (np.digitize(x, np.linspace(x.min(), x.max(), 9)[1:-1]) for x in images)
        joint = np.histogram2d(a.ravel(), b.ravel(), bins=8)[0]

        def entropy(counts):
            share = counts[counts > 0] / counts.sum()
            return -(share * np.log(share)).sum()

        expected = (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint)
        assert nmi(*images, bins=8) == pytest.approx(expected, abs=5e-3)

    def test_a_mask_restricts_the_voxels_of_nmi(self, images):
        mixed = images[0].copy()
        mixed[:9] = np.random.default_rng(0).random(mixed[:9].shape)
        mask = np.zeros(mixed.shape)
        mask[9:] = 1
        assert nmi(images[0], mixed, mask) == pytest.approx(2.0)
        assert nmi(images[0], mixed) < 1.9

    @pytest.mark.parametrize("radius", [1, 2, 4])
    def test_lncc_agrees_with_its_formula_with_and_without_a_mask(self, images, radius):
        a, b = (x.astype(np.float64) for x in images)
        expected = np.zeros(a.shape)
        for center in np.ndindex(a.shape):
            window = tuple(slice(max(c - radius, 0), c + radius + 1) for c in center)
            x, y = a[window] - a[window].mean(), b[window] - b[window].mean()
            expected[center] = (x * y).sum() ** 2 / ((x * x).sum() * (y * y).sum())
        assert lncc(*images, radius=radius) == pytest.approx(expected.mean(), abs=1e-4)
        mask = np.zeros(a.shape, bool)
        mask[3:9] = True
        assert lncc(*images, mask, radius=radius) == pytest.approx(expected[mask].mean(), abs=1e-4)

    def test_lncc_of_linearly_related_images_is_one(self, images):
        assert lncc(images[0], 1000.0 - 2.0 * images[0]) == pytest.approx(1.0, abs=1e-4)

    def test_flat_windows_count_as_uncorrelated(self, images):
        flat = np.zeros_like(images[0])
        assert lncc(images[0], flat) == 0.0
        assert lncc(flat, flat) == 0.0

    def test_lncc_does_not_depend_on_the_size_of_the_slabs(self, monkeypatch, images):
        whole = lncc(*images)
        monkeypatch.setattr("GenRegLogic.quality.measure.SLAB_VOXELS", 1)
        assert lncc(*images) == pytest.approx(whole, rel=1e-6)

    @pytest.mark.parametrize(("figure", "unrelated"), [(nmi, 1.0), (lncc, 0.0)])
    def test_an_empty_mask_gives_the_value_of_unrelated_images(self, images, figure, unrelated):
        assert figure(*images, np.zeros(images[0].shape)) == unrelated

    @pytest.mark.parametrize("figure", [nmi, lncc])
    def test_different_sizes_are_refused(self, images, figure):
        with pytest.raises(InputError, match="different sizes"):
            figure(images[0], images[1][1:])
