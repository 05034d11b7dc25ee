"""The signs of an error: small where a registration is right, as large as the error where it is wrong."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.progress import Monitor
from GenRegLogic.quality.signs import changed_header, evidence, gather
from GenRegLogic.settings import Settings
from GenRegLogic.space.grid import Image
from GenRegLogic.stages.prepare import prepare, working_grid

CPU = torch.device("cpu")


class TestEvidence:
    def test_an_exact_registration_shows_no_sign(self, exact_signs):
        found = evidence(exact_signs)
        for name in ("back_near", "back_wide", "followed_near", "followed_wide", "apart_near", "apart_wide", "motion"):
            assert not found[name].any()
        assert float(found["pull"][exact_signs.weight > 0].mean()) < 0.1 * exact_signs.geometry.spacing[0]

    def test_there_is_no_distance_of_directions_where_there_was_one(self, exact_signs):
        assert not {"apart_near", "apart_wide"} & set(evidence(dataclasses.replace(exact_signs, apart=None)))

    def test_the_pull_of_a_scan_shifted_by_one_voxel_is_about_one_voxel(self, exact_signs):
        shifted = evidence(dataclasses.replace(exact_signs, warped=exact_signs.warped.roll(1, dims=2)))
        assert 0.5 < float(shifted["pull"][exact_signs.weight > 0].mean()) / exact_signs.geometry.spacing[0] < 1.5

    def test_a_constant_residual_is_its_length_in_both_neighborhoods(self, exact_signs):
        residual = torch.zeros_like(exact_signs.u)
        residual[1] = 3.0
        found = evidence(dataclasses.replace(exact_signs, back=residual))
        for name in ("back_near", "back_wide"):
            np.testing.assert_allclose(found[name], 3.0, rtol=1e-4)

    def test_outside_the_moving_scan_nothing_pulls(self, exact_signs):
        found = evidence(dataclasses.replace(exact_signs, inside=torch.zeros_like(exact_signs.inside)))
        assert float(found["pull"].abs().max()) < 1e-4


def test_a_changed_header_changes_no_voxel_and_moves_each_where_it_says(pair):
    scan = prepare(pair.moving, mask=None, device=CPU)
    changed, change = changed_header(scan)
    assert changed.image.tensor is scan.image.tensor
    assert changed.mask.tensor is scan.mask.tensor
    index = np.array([[0, 0, 0], [3, 5, 7], [10, 2, 4]], float)
    for old, new in ((scan.image, changed.image), (scan.mask, changed.mask)):
        expected = old.geometry.to_world(index) @ change[:3, :3].T + change[:3, 3]
        np.testing.assert_allclose(new.geometry.to_world(index), expected, atol=1e-6)


@pytest.fixture(scope="module")
def scans(pair):
    return [prepare(scan, mask=None, device=CPU) for scan in (pair.fixed, pair.moving)]


class TestGather:
    @staticmethod
    def of(scans, linear, shift=(0.0, 0.0, 0.0)):
        grid = working_grid(scans[0], 4.0)
        field = torch.tensor(shift).view(3, 1, 1, 1).expand(3, *grid.shape).contiguous()
        monitor = Monitor(CPU)
        with torch.inference_mode(), monitor.stage("finish"):
            return gather(*scans, linear, Image(field, grid), Settings(threads=1), monitor)

    def test_both_further_registrations_find_a_shift_of_a_right_result(self, pair):
        scan = prepare(pair.fixed, mask=None, device=CPU)
        body = None
        for shift in ((0.0, 0.0, 0.0), (0.0, 12.0, 0.0)):
            signs = self.of([scan, scan], np.eye(4), shift)
            body = signs.weight > 0
            for vectors, sign in ((signs.back, 1), (signs.followed, -1)):
                found = torch.stack([component[body].median() for component in vectors])
                np.testing.assert_allclose(sign * found, shift, atol=0.25 * signs.geometry.spacing[0])

    def test_a_wrong_linear_part_is_not_followed(self, scans):
        turned = np.eye(4)
        turned[:2, :2] = [[0.36, -0.93], [0.93, 0.36]]
        signs = self.of(scans, turned)
        found = evidence(signs)
        body = signs.weight > 0
        assert float(found["back_wide"][body].median()) > 1.25 * signs.geometry.spacing[0]
        assert float(found["followed_wide"][body].median()) > 1.25 * signs.geometry.spacing[0]

    def test_two_calls_find_the_same(self, scans):
        one, other = (self.of(scans, np.eye(4)) for _ in range(2))
        assert torch.equal(one.back, other.back)
        assert torch.equal(one.followed, other.followed)
