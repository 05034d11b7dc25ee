"""The ablation: which runs stand for which variants, means, marks, tables, resumption, and one pair for real."""

import dataclasses
import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
COUNTS, DEFAULT = (0, 10, 40), 40


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture
def tables(scripts_on_the_path):
    import ablation_tables

    return ablation_tables


@pytest.fixture
def ablation(scripts_on_the_path):
    loader = importlib.machinery.SourceFileLoader("script_ablation", str(SCRIPTS / "ablation"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


STARTS = ("identity", "search", "network", "improved")


def made_setup(*, ladder="descriptor", chosen="improved", without="search"):
    """What is known of a pair before its runs; each proposal takes 1 s."""
    proposals = {name: {"objective": 0.5, "cpu_s": 1.0, "wall_s": 1.0, "peak_mb": 400.0} for name in STARTS}
    return {
        "modality": "T1-T2",
        "spacing_mm": 1.0,
        "voxels": 1000,
        "proposals": proposals,
        "ladder": dict.fromkeys(STARTS, ladder),
        "chosen": {"identity+search": without, "search+network": chosen},
    }


def made_pair(tables, *, figure="dice", base=0.7, gains=None, peak_mb=500.0, **setup):
    """A pair whose runs all score `base`, but those in `gains`, {key: gain}; each takes 2 s."""
    setup = made_setup(**setup)
    gains = gains or {}
    runs = {}
    for start, made, count in tables.needed_runs(setup, COUNTS):
        key = tables.run_key(start, made, count)
        score = {figure: base + gains.get(key, 0.0), "folds_pct": 0.0, "ndv_pct": 0.0}
        runs[key] = {"score": score, "cpu_s": 2.0 if count else 0.0, "wall_s": 3.0, "peak_mb": peak_mb}
    return setup | {"runs": runs}


class TestRuns:
    def test_no_run_is_made_twice(self, tables):
        runs = tables.needed_runs(made_setup(), COUNTS)
        assert len(runs) == len(set(runs))

    def test_without_iterations_every_proposal_is_scored_once(self, tables):
        assert [run for run in tables.needed_runs(made_setup(), COUNTS) if run[2] == 0] == [
            ("identity", "", 0),
            ("search", "", 0),
            ("network", "", 0),
            ("improved", "", 0),
        ]

    def test_an_improvement_that_is_not_chosen_is_not_run(self, tables):
        assert "improved" not in {start for start, _, _ in tables.needed_runs(made_setup(chosen="search"), COUNTS)}

    def test_on_a_pair_of_two_contrasts_the_network_describes_the_coarse_scales(self, tables):
        runs = tables.needed_runs(made_setup(), [40])
        assert {made for _, made, _ in runs} == {"mind", "network", "both", "intensity", "both > mind"}

    def test_on_a_pair_of_one_contrast_it_describes_nothing_by_default(self, tables):
        runs = tables.needed_runs(made_setup(ladder="intensity"), [40])
        assert {made for _, made, _ in runs} == {"mind", "network", "both", "intensity", "mind > intensity"}

    def test_what_the_default_is_judged_by_comes_first(self, tables):
        urgent = tables.urgent_runs(made_setup(), [40])
        assert urgent[:4] == [
            ("search", "mind", 40),
            ("improved", "both > mind", 40),
            ("improved", "mind", 40),
            ("search", "both > mind", 40),
        ]
        assert set(urgent[4:]) == {("search", "network", 40), ("search", "both", 40)}
        assert set(urgent) <= set(tables.needed_runs(made_setup(), COUNTS))

    def test_on_a_pair_of_one_contrast_that_is_one_run_for_each_proposal(self, tables):
        assert tables.urgent_runs(made_setup(ladder="intensity"), [40]) == [
            ("search", "mind > intensity", 40),
            ("improved", "mind > intensity", 40),
        ]


class TestValues:
    def test_the_choice_of_proposals_is_the_run_of_the_chosen_one(self, tables):
        pair = made_pair(tables, gains={"improved | mind | 40": 0.1})
        found = tables.value(pair, tables.WITH, "mind", 40)
        assert found["dice"] == pytest.approx(0.8)
        assert found["start"] == "improved"

    def test_the_choice_of_proposals_costs_all_of_them(self, tables):
        pair = made_pair(tables)
        seconds = [tables.value(pair, name, "mind", 40)["cpu_s"] for name in ("search", tables.WITHOUT, tables.WITH)]
        assert seconds == [3.0, 4.0, 5.0]
        assert tables.value(pair, tables.WITH, "mind", 40)["refine_cpu_s"] == 2.0

    def test_the_peak_is_that_of_proposing_and_refining(self, tables):
        assert tables.value(made_pair(tables, peak_mb=500.0), "search", "mind", 40)["peak_mb"] == 500.0
        assert tables.value(made_pair(tables, peak_mb=300.0), "search", "mind", 40)["peak_mb"] == 400.0

    def test_a_peak_that_the_system_does_not_tell_is_none(self, tables):
        assert tables.value(made_pair(tables, peak_mb=None), "search", "mind", 40)["peak_mb"] is None

    def test_each_start_has_the_ladder_that_the_data_chose_for_it(self, tables):
        pair = made_pair(tables, ladder="intensity", gains={"search | mind > intensity | 40": 0.1})
        assert tables.value(pair, "search", "auto", 40)["dice"] == pytest.approx(0.8)
        assert tables.value(pair, "search", "mind", 40)["dice"] == pytest.approx(0.7)

    def test_a_run_that_is_not_finished_has_no_value(self, tables):
        pair = made_pair(tables)
        del pair["runs"]["search | mind | 40"]
        assert tables.value(pair, "search", "mind", 40) is None


def by_variant(rows, *variant):
    return next(row for row in rows if (row["proposal"], row["comparison"], row["iterations"]) == variant)


class TestMeans:
    @pytest.fixture
    def pairs(self, tables):
        return {
            "a": made_pair(tables, gains={"search | both | 40": 0.02}),
            "b": made_pair(tables, ladder="intensity", gains={"search | both | 40": 0.04}),
            "c": made_pair(tables, figure="tre_mm", base=2.0, gains={"search | both | 40": 1.0}),
        }

    def test_dice_is_related_as_a_difference_and_tre_as_a_multiple(self, tables, pairs):
        row = by_variant(tables.results(pairs, COUNTS, DEFAULT)["means"], "search", "both", 40)
        assert row["dice"] == pytest.approx(0.73)
        assert row["dice_relative"] == pytest.approx(0.03)
        assert row["tre_mm"] == pytest.approx(3.0)
        assert row["tre_mm_relative"] == pytest.approx(1.5)

    def test_folds_are_the_most_of_all_pairs(self, tables, pairs):
        pairs["b"]["runs"]["search | both | 40"]["score"]["ndv_pct"] = 0.25
        row = by_variant(tables.results(pairs, COUNTS, DEFAULT)["means"], "search", "both", 40)
        assert (row["folds_pct"], row["ndv_pct"]) == (0.0, 0.25)

    def test_pairs_across_contrasts_are_those_refined_by_descriptors(self, tables, pairs):
        assert tables.across_contrasts(pairs) == ["a", "c"]

    def test_means_without_any_landmarks_are_left_open(self, tables, pairs):
        del pairs["c"]
        row = by_variant(tables.results(pairs, COUNTS, DEFAULT)["means"], "search", "both", 40)
        assert row["tre_mm"] is None
        assert row["tre_mm_relative"] is None

    def test_means_are_over_the_pairs_that_have_all_rows(self, tables, pairs):
        del pairs["a"]["runs"]["network | both | 10"]
        rows = tables.results(pairs, COUNTS, DEFAULT)["means"]
        assert {row["pairs"] for row in rows} == {2}
        assert by_variant(rows, "search", "both", 40)["dice"] == pytest.approx(0.74)

    def test_what_no_pair_has_is_left_open_and_does_not_keep_others_from_being_compared(self, tables, pairs):
        for pair in pairs.values():
            del pair["runs"]["network | both | 10"]
        rows = tables.results(pairs, COUNTS, DEFAULT)["means"]
        assert by_variant(rows, "network", "both", 10)["dice"] is None
        assert by_variant(rows, "search", "both", 40)["dice"] == pytest.approx(0.73)


def by_use(rows, *use):
    return next(row for row in rows if (row["use"], row["iterations"], row["against"]) == use)


class TestUses:
    @pytest.mark.parametrize(
        ("figure", "base", "gain", "worse"),
        [
            ("dice", 0.7, -0.006, True),
            ("dice", 0.7, -0.004, False),
            ("tre_mm", 2.0, 0.05, True),
            ("tre_mm", 2.0, 0.03, False),
        ],
    )
    def test_a_pair_is_worse_beyond_the_bar_only(self, tables, figure, base, gain, worse):
        pair = made_pair(tables, figure=figure, base=base, gains={"improved | both > mind | 40": gain})
        row = by_use(tables.results({"a": pair}, COUNTS, DEFAULT)["uses"], "with", 40, 40)
        assert row["worse"] == (["a"] if worse else [])

    def test_fewer_iterations_are_compared_with_as_many_and_with_the_default(self, tables):
        pair = made_pair(tables, gains={"search | mind | 40": 0.1})
        rows = tables.results({"a": pair}, COUNTS, DEFAULT)["uses"]
        assert by_use(rows, "with", 10, 10)["dice_relative"] == pytest.approx(0.0)
        assert by_use(rows, "with", 10, 40)["dice_relative"] == pytest.approx(-0.1)

    def test_seconds_are_multiples_of_those_without_the_network(self, tables):
        pair = made_pair(tables)
        pair["runs"]["improved | both > mind | 10"]["cpu_s"] = 1.0
        row = by_use(tables.results({"a": pair}, COUNTS, DEFAULT)["uses"], "with", 10, 40)
        assert row["refine_cpu_s_ratio"] == 0.5
        assert row["cpu_s_ratio"] == 1.0

    def test_where_the_network_is_not_chosen_and_does_not_describe_nothing_changes(self, tables):
        pair = made_pair(tables, ladder="intensity", chosen="search")
        row = by_use(tables.results({"a": pair}, COUNTS, DEFAULT)["uses"], "with", 40, 40)
        assert (row["dice_relative"], row["refine_cpu_s_ratio"], row["worse"]) == (0.0, 1.0, [])


def content(tables, pairs):
    facts = {
        "created": "2000-01-01",
        "command": "scripts/ablation",
        "commit": "abc",
        "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 8.0, "system": "Linux"},
    }
    facts |= {
        "threads": 1,
        "voxels": 300_000,
        "weights": "0123",
        "counts": list(COUNTS),
        "default": DEFAULT,
        "versions": {"genreg": "1"},
        "missing": [],
    }
    return facts | tables.results(pairs, COUNTS, DEFAULT) | {"cases": pairs}


class TestPage:
    def test_a_pair_worse_with_the_network_is_marked_with_the_proposal_it_started_from(self, tables):
        pairs = {"a": made_pair(tables, gains={"improved | both > mind | 40": -0.1}), "b": made_pair(tables)}
        page = tables.to_markdown(content(tables, pairs))
        assert "0.6000 (improved) **!**" in page
        assert page.count("**!** |") == 1

    def test_every_table_has_as_many_cells_in_every_row(self, tables):
        pairs = {"a": made_pair(tables), "b": made_pair(tables, ladder="intensity", figure="tre_mm", base=2.0)}
        for block in tables.to_markdown(content(tables, pairs)).split("\n\n"):
            if block.startswith("|"):
                assert len({line.count("|") for line in block.splitlines()}) == 1

    def test_runs_that_are_missing_are_dashes(self, tables):
        pair = made_pair(tables)
        pair["runs"] = {key: run for key, run in pair["runs"].items() if key.endswith("| mind | 40")}
        page = tables.to_markdown(content(tables, {"a": pair}))
        assert "| a | 0.7000 | – | 0.7000 (improved) | – | – | 1.00 | – |" in page

    def test_the_default_alone_makes_a_short_page(self, tables):
        facts = content(tables, {"a": made_pair(tables)})
        facts = {key: value for key, value in facts.items() if key not in ("means", "across_contrasts")}
        page = tables.to_markdown(facts | tables.results(facts["cases"], [40], 40, default_only=True))
        assert "## The default with the network" in page
        assert "## Means" not in page

    def test_pairs_that_are_missing_are_named(self, tables):
        page = tables.to_markdown(content(tables, {"a": made_pair(tables)}) | {"missing": ["c"]})
        assert "Not measured yet: c." in page

    def test_without_pairs_of_two_contrasts_the_page_says_so(self, tables):
        page = tables.to_markdown(content(tables, {"a": made_pair(tables, ladder="intensity")}))
        assert "None of the pairs." in page

    def test_what_is_kept_is_plain_json(self, tables):
        kept = content(tables, {"a": made_pair(tables)})
        assert json.loads(json.dumps(kept)) == kept

    def test_the_plot_is_drawn(self, tables, tmp_path):
        pairs = {"a": made_pair(tables), "b": made_pair(tables, figure="tre_mm", base=2.0)}
        tables.draw(tables.results(pairs, COUNTS, DEFAULT)["means"], DEFAULT, tmp_path / "ablation.png")
        assert (tmp_path / "ablation.png").stat().st_size > 10_000

    def test_the_plot_has_a_row_for_each_figure_there_is(self, tables, tmp_path):
        tables.draw(tables.results({"a": made_pair(tables)}, COUNTS, DEFAULT)["means"], DEFAULT, tmp_path / "one.png")
        assert (tmp_path / "one.png").exists()


class TestResumption:
    @pytest.fixture
    def plan(self, ablation, tmp_path):

        return ablation.Plan(COUNTS, DEFAULT, ("weights=1",), "engine", tmp_path)

    def fill(self, plan, pair, *, leave=0, case="a"):
        plan.put(case, "setup", {k: v for k, v in pair.items() if k != "runs"})
        for key in list(pair["runs"])[: len(pair["runs"]) - leave]:
            plan.put(case, key, pair["runs"][key])

    def test_only_runs_that_are_not_finished_are_missing(self, plan, tables):
        pair = made_pair(tables)
        self.fill(plan, pair, leave=2)
        assert [tables.run_key(*run) for run in plan.missing("a", pair)] == list(pair["runs"])[-2:]

    def test_a_pair_that_lacks_runs_is_named(self, ablation, plan, tables):
        pair = made_pair(tables)
        self.fill(plan, pair, leave=1)
        total = len(pair["runs"])
        found, missing = ablation.gather(plan, ["a", "b"])
        assert len(found["a"]["runs"]) == total - 1
        assert missing == [f"a (1 of {total} runs)", "b"]
        self.fill(plan, pair)
        assert ablation.gather(plan, ["a"]) == ({"a": pair}, [])

    def test_every_pair_has_a_file_of_its_own(self, plan, tables):
        for case in ("a", "b"):
            self.fill(plan, made_pair(tables), case=case)
        assert sorted(file.name for file in plan.folder.iterdir()) == ["a.json", "b.json"]

    def test_other_weights_have_no_finished_runs(self, ablation, plan, tables):
        self.fill(plan, made_pair(tables))
        assert ablation.gather(dataclasses.replace(plan, asked=("weights=2",)), ["a"]) == ({}, ["a"])

    def test_everything_can_be_asked_for_again(self, plan, tables):
        pair = made_pair(tables)
        self.fill(plan, pair)
        assert len(dataclasses.replace(plan, again=True).missing("a", pair)) == len(pair["runs"])

    def test_the_default_alone_wants_its_runs_only(self, plan, tables):
        wanted = dataclasses.replace(plan, default_only=True).wanted(made_setup())
        assert wanted == tables.urgent_runs(made_setup(), [DEFAULT], across=False)

    def test_the_engine_of_the_last_runs_is_known(self, plan):
        plan.tell_last("a", {"commit": "abc"})
        last = dataclasses.replace(plan, engine="changed").last(["b", "a"])
        assert (last["engine"], last["facts"]) == ("engine", {"commit": "abc"})


def ball(bulge):
    """A textured ball of 24 voxels, (32, 32, 32) float32, whose middle is moved by `bulge` voxels."""
    k, j, i = np.indices((32, 32, 32)) - 15.5
    j = j + bulge * np.exp(-(k**2 + j**2 + i**2) / 60)
    body = 1 / (1 + np.exp(2 * (np.sqrt(k**2 + j**2 + i**2) - 12)))
    return (100 * body * (1.5 + np.sin(k / 1.5) * np.cos(j / 1.5) + np.sin(i / 2 + j / 2))).astype(np.float32)


@pytest.fixture(scope="module")
def pair():
    torch = pytest.importorskip("torch")
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

    def test_the_choice_follows_the_scores(self, pair):
        _, setup = pair
        scores = {name: cost["objective"] for name, cost in setup["proposals"].items()}
        assert scores[setup["chosen"]["search+network"]] <= scores["identity"]
        assert setup["chosen"]["identity+search"] in ("identity", "search")

    def test_the_working_grid_keeps_within_the_voxels_asked_for(self, pair):
        assert pair[1]["voxels"] <= 8000

    def test_every_comparison_can_be_run(self, pair):
        from ablation_runs import MADE

        assert all(bool(pair[0].refined("identity", name, 2).tensor.isfinite().all()) for name in MADE)

    def test_refining_moves_the_field(self, pair):
        assert float(pair[0].refined("identity", "intensity", 8).tensor.abs().max()) > 0.5

    def test_no_two_comparisons_are_the_same_to_the_engine(self, tables):
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
    """A made-up case in a folder, with the real referee, and a field on its grid."""
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
    def test_scores_are_those_of_the_referee(self, scored, tmp_path):
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

    def test_the_referee_is_left_as_it_was(self, scored):
        import SimpleITK as sitk
        from ablation_runs import Referee

        bench, field = scored
        Referee(bench, "a").score(field)
        assert bench.referee.sitk is sitk
        assert "sdlogj" in bench.score("a", "identity")


class TestPeak:
    @pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system doesn't tell peak memory")
    def test_the_peak_is_that_of_the_step_and_not_of_those_before(self):
        from ablation_runs import taking

        def allocate(megabytes):
            return float(np.ones(megabytes * 125_000).sum())

        _, large = taking(lambda: allocate(400))
        _, small = taking(lambda: allocate(1))
        assert large["peak_mb"] - small["peak_mb"] > 300
