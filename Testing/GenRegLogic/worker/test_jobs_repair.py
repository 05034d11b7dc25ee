"""The job "repair": its results equal those of the engine called directly."""

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.repair import repair
from GenRegLogic.settings import Settings
from GenRegLogic.space import margin as grids
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.volume import Volume

from .conftest import do, make_job

SETTINGS = {"iterations": 3, "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def wrong(scans):
    """A transform that moves nothing."""
    geometry = scans[0].geometry
    return DisplacementField(np.zeros((*geometry.shape, 3)), geometry)


@pytest.fixture(scope="module")
def region(scans):
    array = np.zeros(scans[0].geometry.shape, np.uint8)
    array[10:26, 8:22, 8:24] = 1
    return Volume(array, scans[0].geometry)


def job_of(scans, wrong, region=None, **parameters):
    parameters, arrays = make_job(*scans, field=wrong.geometry.to_dict(), **{"settings": SETTINGS, **parameters})
    arrays["field"] = wrong.array
    if region is not None:
        parameters["region"], arrays["region"] = region.geometry.to_dict(), region.array
    return parameters, arrays


def test_the_field_and_the_report_equal_the_engines(real_worker, scans, wrong, region):
    end = do(real_worker, "repair", *job_of(scans, wrong, region, want_warped=True)).end
    assert isinstance(end, dict), end
    direct = repair(*scans, wrong, region=region, settings=Settings(**SETTINGS))
    np.testing.assert_array_equal(end["arrays"]["forward"], direct.forward.array)
    assert end["report"]["repair"] == direct.report["repair"]
    assert set(end["arrays"]) == {"forward", "warped", "confidence"}
    np.testing.assert_array_equal(end["arrays"]["confidence"], direct.confidence.array)


def test_with_a_margin_the_field_is_slicers_grid(real_worker, scans, wrong, region):
    end = do(real_worker, "repair", *job_of(scans, wrong, region, margin=True)).end
    direct = repair(*scans, wrong, region=region, settings=Settings(**SETTINGS))
    array, geometry = grids.withMargin(direct.forward.array, direct.forward.geometry)
    np.testing.assert_array_equal(end["arrays"]["forward"], array)
    assert end["geometries"]["forward"].is_close(geometry, 1e-9)


def test_landmarks_alone_select_the_region(real_worker, scans, wrong):
    points = {"fixed_landmarks": [[0.0, 0.0, 0.0]], "moving_landmarks": [[2.0, 1.0, 0.0]]}
    end = do(real_worker, "repair", *job_of(scans, wrong, **points)).end
    assert end["report"]["landmarks"]["count"] == 1


def test_a_repair_without_region_and_landmarks_is_refused_with_the_engines_sentence(real_worker, scans, wrong):
    end = do(real_worker, "repair", *job_of(scans, wrong)).end
    assert isinstance(end, InputError)
    assert "Nothing says where" in str(end)


def test_a_registration_keeps_labels_rigid(real_worker, scans, region):
    parameters, arrays = make_job(*scans, settings=SETTINGS | {"init": "header"})
    parameters["keep_rigid"], arrays["keep_rigid"] = region.geometry.to_dict(), region.array
    end = do(real_worker, "register", parameters, arrays).end
    assert abs(end["report"]["rigid"][0]["volume_change_pct"]) < 0.5
