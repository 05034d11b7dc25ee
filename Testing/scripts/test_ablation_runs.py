"""The ablation's runs on one small pair: proposals, refinements, scores and costs."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from .conftest import SCRIPTS


def ball(bulge):
    """A textured ball of 24 voxels, (32, 32, 32) float32, whose center is displaced by `bulge` voxels."""
    k, j, i = np.indices((32, 32, 32)) - 15.5
    j = j + bulge * np.exp(-(k**2 + j**2 + i**2) / 60)
    body = 1 / (1 + np.exp(2 * (np.sqrt(k**2 + j**2 + i**2) - 12)))
    return (100 * body * (1.5 + np.sin(k / 1.5) * np.cos(j / 1.5) + np.sin(i / 2 + j / 2))).astype(np.float32)


@pytest.fixture(scope="module")
def pair():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        from ablation_runs import Pair

        from GenRegLogic.network.apply import Learned
        from GenRegLogic.network.model import Network
        from GenRegLogic.space.geometry import Geometry
        from GenRegLogic.space.volume import Volume

        geometry = Geometry(size=(32, 32, 32), spacing=(2.0, 2.0, 2.0), origin=(0.0, 0.0, 0.0))
        scans = [Volume(ball(bulge), geometry) for bulge in (0.0, 1.5)]
        torch.manual_seed(0)
        with torch.inference_mode():
            made = Pair(*scans, Learned(Network(), torch.device("cpu")), 8000)
            yield made, made.propose()


class TestOnePair:
    def test_every_proposal_is_scored_and_timed(self, pair):
        _, setup = pair
        assert list(setup["proposals"]) == ["identity", "search", "network", "improved"]
        for cost in setup["proposals"].values():
            assert np.isfinite(cost["objective"])
            assert cost["cpu_s"] >= 0

    def test_the_chosen_proposal_has_the_better_score(self, pair):
        _, setup = pair
        scores = {name: cost["objective"] for name, cost in setup["proposals"].items()}
        assert scores[setup["chosen"]["search+network"]] <= scores["identity"]
        assert setup["chosen"]["identity+search"] in ("identity", "search")

    def test_the_working_grid_has_at_most_the_requested_voxels(self, pair):
        assert pair[1]["voxels"] <= 8000

    def test_every_comparison_can_be_run(self, pair):
        from ablation_runs import MADE

        assert all(bool(pair[0].refined("identity", name, 2).tensor.isfinite().all()) for name in MADE)

    def test_refining_changes_the_field(self, pair):
        assert float(pair[0].refined("identity", "intensity", 8).tensor.abs().max()) > 0.5

    def test_all_comparisons_differ_in_the_engine(self):
        from ablation_runs import MADE

        from GenRegLogic.stages import schedule as ladders

        compared = {
            name: tuple(level.measure for level in ladders.schedule(measure, 1.0, 10, **described))
            for name, (measure, described) in MADE.items()
        }
        assert len(set(compared.values())) == len(compared)
        assert compared["both"] == ("mind-ssc+network",) * 3
        assert compared["both > mind"] == ("mind-ssc+network", "mind-ssc+network", "mind-ssc")
        assert compared["mind > intensity"] == ("mind-ssc", "mind-ssc", "intensity", "intensity")
        assert set(compared["intensity"]) == {"intensity"}

    def test_the_improvement_starts_from_the_better_simple_proposal(self, pair):
        made, setup = pair
        assert made.proposals["improved"].name == f"{setup['chosen']['identity+search']}+network"

    def test_a_run_is_scored(self, pair):
        seen = []
        run = pair[0].run(
            SimpleNamespace(score=lambda forward: seen.append(forward) or {"dice": 0.5}), "search", "mind", 0
        )
        assert seen[0].geometry.size == (32, 32, 32)
        assert run["score"] == {"dice": 0.5}


@pytest.fixture
def scored(tmp_path):
    """A synthetic case with the real referee, and a field on its grid."""
    import SimpleITK as sitk
    from measuring import BENCH, load_bench

    from GenRegLogic.space.field import DisplacementField
    from GenRegLogic.space.geometry import Geometry

    if not (BENCH / "score.py").is_file():
        pytest.skip("the referee isn't here (../shared/bench)")
    random = np.random.default_rng(0)
    labels = (np.indices((20, 20, 20)).sum(0) // 8).astype(np.uint16)
    for name, array in {"fixed": ball(0)[:20, :20, :20], "fixed_labels": labels, "moving_labels": labels[::-1]}.items():
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(array)), str(tmp_path / f"{name}.nii"))
    for name in ("fixed_points", "moving_points"):
        np.savetxt(tmp_path / f"{name}.csv", random.uniform(0, 19, (5, 3)), delimiter=",")
    case = {
        "name": "a",
        "fixed": "fixed.nii",
        "labels": [1, 2, 5, 77],
        "fixed_labels": "fixed_labels.nii",
        "moving_labels": "moving_labels.nii",
        "fixed_points": "fixed_points.csv",
        "moving_points": "moving_points.csv",
    }
    (tmp_path / "cases.json").write_text(json.dumps({"cases": [case]}))
    geometry = Geometry(size=(20, 20, 20), spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0))
    field = DisplacementField(random.normal(0, 0.7, (20, 20, 20, 3)).astype(np.float32), geometry)
    return load_bench(tmp_path, BENCH), field.rounded()


class TestReferee:
    def test_scores_equal_the_referees(self, scored, tmp_path):
        from ablation_runs import Referee

        from GenRegLogic.files.transforms import write_transform

        bench, field = scored
        write_transform(field, tmp_path / "field.nii")
        expected = bench.score("a", tmp_path / "field.nii")
        referee = Referee(bench, "a")
        for found in (referee.score(field), referee.score(field)):
            assert {key: found[key] for key in ("dice", "dice_min", "tre_mm", "tre_p90_mm")} == {
                key: expected[key] for key in ("dice", "dice_min", "tre_mm", "tre_p90_mm")
            }
            assert found["folds_pct"] == pytest.approx(expected["folds_pct"], abs=0.02)
            assert found["ndv_pct"] == pytest.approx(expected["ndv_pct"], abs=0.02)
            assert found["ndv_pct"] > 0

    def test_the_referee_is_restored_after_scoring(self, scored):
        import SimpleITK as sitk
        from ablation_runs import Referee

        bench, field = scored
        Referee(bench, "a").score(field)
        assert bench.referee.sitk is sitk
        assert "sdlogj" in bench.score("a", "identity")


class TestPeak:
    @pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system doesn't tell peak memory")
    def test_the_peak_of_a_step_does_not_include_earlier_steps(self):
        from ablation_runs import taking

        def allocate(megabytes):
            return float(np.ones(megabytes * 125_000).sum())

        _, large = taking(lambda: allocate(400))
        _, small = taking(lambda: allocate(1))
        assert large["peak_mb"] - small["peak_mb"] > 300
