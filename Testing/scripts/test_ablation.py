"""The ablation's variants, means, page, plot, resumption and network; `test_ablation_runs` makes runs."""

import dataclasses
import json

import pytest
from PIL import Image

from .conftest import load_script

COUNTS, DEFAULT = (0, 10, 40), 40


@pytest.fixture
def tables():
    import ablation_tables

    return ablation_tables


@pytest.fixture
def to_markdown():
    from ablation_page import to_markdown

    return to_markdown


@pytest.fixture
def draw():
    from ablation_plot import draw

    return draw


@pytest.fixture
def ablation():
    return load_script("ablation")


STARTS = ("identity", "search", "network", "improved")


def made_setup(*, ladder="descriptor", chosen="improved", without="search"):
    """The facts on a pair before its runs; each proposal takes 1 s."""
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
    """A pair whose runs all score `base`, except those in `gains`, {key: gain}; each takes 2 s."""
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

    def test_with_different_contrasts_the_networks_descriptors_are_used_at_coarse_scales(self, tables):
        runs = tables.needed_runs(made_setup(), [40])
        assert {made for _, made, _ in runs} == {"mind", "network", "both", "intensity", "both > mind"}

    def test_with_one_contrast_the_default_does_not_use_the_networks_descriptors(self, tables):
        runs = tables.needed_runs(made_setup(ladder="intensity"), [40])
        assert {made for _, made, _ in runs} == {"mind", "network", "both", "intensity", "mind > intensity"}

    def test_the_runs_that_the_default_is_judged_by_come_first(self, tables):
        urgent = tables.urgent_runs(made_setup(), [40])
        assert urgent[:4] == [
            ("search", "mind", 40),
            ("improved", "both > mind", 40),
            ("improved", "mind", 40),
            ("search", "both > mind", 40),
        ]
        assert set(urgent[4:]) == {("search", "network", 40), ("search", "both", 40)}
        assert set(urgent) <= set(tables.needed_runs(made_setup(), COUNTS))

    def test_with_one_contrast_the_default_is_judged_by_one_run_for_each_proposal(self, tables):
        assert tables.urgent_runs(made_setup(ladder="intensity"), [40]) == [
            ("search", "mind > intensity", 40),
            ("improved", "mind > intensity", 40),
        ]


class TestValues:
    def test_a_choice_has_the_score_of_the_chosen_proposal(self, tables):
        pair = made_pair(tables, gains={"improved | mind | 40": 0.1})
        found = tables.value(pair, tables.WITH, "mind", 40)
        assert found["dice"] == pytest.approx(0.8)
        assert found["start"] == "improved"

    def test_a_choice_has_the_cost_of_all_its_proposals(self, tables):
        pair = made_pair(tables)
        seconds = [tables.value(pair, name, "mind", 40)["cpu_s"] for name in ("search", tables.WITHOUT, tables.WITH)]
        assert seconds == [3.0, 4.0, 5.0]
        assert tables.value(pair, tables.WITH, "mind", 40)["refine_cpu_s"] == 2.0

    def test_the_peak_is_the_larger_one_of_proposing_and_refining(self, tables):
        assert tables.value(made_pair(tables, peak_mb=500.0), "search", "mind", 40)["peak_mb"] == 500.0
        assert tables.value(made_pair(tables, peak_mb=300.0), "search", "mind", 40)["peak_mb"] == 400.0

    def test_a_peak_that_the_system_does_not_report_is_none(self, tables):
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

    def test_dice_is_relative_as_a_difference_and_tre_as_a_ratio(self, tables, pairs):
        row = by_variant(tables.results(pairs, COUNTS, DEFAULT)["means"], "search", "both", 40)
        assert row["dice"] == pytest.approx(0.73)
        assert row["dice_relative"] == pytest.approx(0.03)
        assert row["tre_mm"] == pytest.approx(3.0)
        assert row["tre_mm_relative"] == pytest.approx(1.5)

    def test_folds_are_the_largest_of_all_pairs(self, tables, pairs):
        pairs["b"]["runs"]["search | both | 40"]["score"]["ndv_pct"] = 0.25
        row = by_variant(tables.results(pairs, COUNTS, DEFAULT)["means"], "search", "both", 40)
        assert (row["folds_pct"], row["ndv_pct"]) == (0.0, 0.25)

    def test_pairs_across_contrasts_are_those_refined_by_descriptors(self, tables, pairs):
        assert tables.across_contrasts(pairs) == ["a", "c"]

    def test_the_mean_tre_without_landmarks_is_none(self, tables, pairs):
        del pairs["c"]
        row = by_variant(tables.results(pairs, COUNTS, DEFAULT)["means"], "search", "both", 40)
        assert row["tre_mm"] is None
        assert row["tre_mm_relative"] is None

    def test_means_are_over_the_pairs_that_have_all_rows(self, tables, pairs):
        del pairs["a"]["runs"]["network | both | 10"]
        rows = tables.results(pairs, COUNTS, DEFAULT)["means"]
        assert {row["pairs"] for row in rows} == {2}
        assert by_variant(rows, "search", "both", 40)["dice"] == pytest.approx(0.74)

    def test_a_variant_that_no_pair_has_is_none_and_does_not_affect_the_others(self, tables, pairs):
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
    def test_a_pair_counts_as_worse_only_beyond_the_tolerance(self, tables, figure, base, gain, worse):
        pair = made_pair(tables, figure=figure, base=base, gains={"improved | both > mind | 40": gain})
        row = by_use(tables.results({"a": pair}, COUNTS, DEFAULT)["uses"], "with", 40, 40)
        assert row["worse"] == (["a"] if worse else [])

    def test_fewer_iterations_are_compared_with_equal_and_with_default_iterations(self, tables):
        pair = made_pair(tables, gains={"search | mind | 40": 0.1})
        rows = tables.results({"a": pair}, COUNTS, DEFAULT)["uses"]
        assert by_use(rows, "with", 10, 10)["dice_relative"] == pytest.approx(0.0)
        assert by_use(rows, "with", 10, 40)["dice_relative"] == pytest.approx(-0.1)

    def test_seconds_are_relative_to_those_without_the_network(self, tables):
        pair = made_pair(tables)
        pair["runs"]["improved | both > mind | 10"]["cpu_s"] = 1.0
        row = by_use(tables.results({"a": pair}, COUNTS, DEFAULT)["uses"], "with", 10, 40)
        assert row["refine_cpu_s_ratio"] == 0.5
        assert row["cpu_s_ratio"] == 1.0

    def test_a_network_that_is_not_used_changes_nothing(self, tables):
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
    def test_a_pair_that_is_worse_with_the_network_is_marked(self, tables, to_markdown):
        pairs = {"a": made_pair(tables, gains={"improved | both > mind | 40": -0.1}), "b": made_pair(tables)}
        page = to_markdown(content(tables, pairs))
        assert "0.6000 (improved) **!**" in page
        assert page.count("**!** |") == 1

    def test_all_rows_of_a_table_have_equally_many_cells(self, tables, to_markdown):
        pairs = {"a": made_pair(tables), "b": made_pair(tables, ladder="intensity", figure="tre_mm", base=2.0)}
        blocks = to_markdown(content(tables, pairs)).split("\n\n")
        found = [block.splitlines() for block in blocks if block.startswith("|")]
        assert len(found) > 5
        assert all(len({line.count("|") for line in lines}) == 1 for lines in found)

    def test_missing_runs_are_dashes(self, tables, to_markdown):
        pair = made_pair(tables)
        pair["runs"] = {key: run for key, run in pair["runs"].items() if key.endswith("| mind | 40")}
        page = to_markdown(content(tables, {"a": pair}))
        assert "| a | 0.7000 | – | 0.7000 (improved) | – | – | 1.00 | – |" in page

    def test_the_page_of_the_default_alone_has_no_means(self, tables, to_markdown):
        facts = content(tables, {"a": made_pair(tables)})
        facts = {key: value for key, value in facts.items() if key not in ("means", "across_contrasts")}
        page = to_markdown(facts | tables.results(facts["cases"], [40], 40, default_only=True))
        assert "## The default with the network" in page
        assert "## Means" not in page

    def test_missing_pairs_are_named(self, tables, to_markdown):
        page = to_markdown(content(tables, {"a": made_pair(tables)}) | {"missing": ["c"]})
        assert "Not measured yet: c." in page

    def test_the_page_states_that_no_pair_has_different_contrasts(self, tables, to_markdown):
        page = to_markdown(content(tables, {"a": made_pair(tables, ladder="intensity")}))
        assert "None of the pairs." in page

    def test_the_figures_are_plain_json(self, tables):
        kept = content(tables, {"a": made_pair(tables)})
        assert json.loads(json.dumps(kept)) == kept

    def test_the_plot_is_drawn(self, tables, draw, tmp_path):
        pairs = {"a": made_pair(tables), "b": made_pair(tables, figure="tre_mm", base=2.0)}
        draw(tables.results(pairs, COUNTS, DEFAULT)["means"], DEFAULT, tmp_path / "ablation.png")
        assert (tmp_path / "ablation.png").stat().st_size > 10_000

    def test_the_plot_has_a_row_for_each_measured_figure(self, tables, draw, tmp_path):
        heights = []
        for number, pairs in enumerate(
            (
                {"a": made_pair(tables)},
                {"a": made_pair(tables), "b": made_pair(tables, figure="tre_mm", base=2.0)},
            )
        ):
            path = tmp_path / f"{number}.png"
            draw(tables.results(pairs, COUNTS, DEFAULT)["means"], DEFAULT, path)
            heights.append(Image.open(path).height)
        assert heights == [500, 920]


class TestResumption:
    @pytest.fixture
    def plan(self, ablation, tmp_path):
        return ablation.Plan(COUNTS, DEFAULT, ("weights=1",), "engine", tmp_path)

    def fill(self, plan, pair, *, leave=0, case="a"):
        plan.put(case, "setup", {k: v for k, v in pair.items() if k != "runs"})
        for key in list(pair["runs"])[: len(pair["runs"]) - leave]:
            plan.put(case, key, pair["runs"][key])

    def test_unfinished_runs_are_missing(self, plan, tables):
        pair = made_pair(tables)
        self.fill(plan, pair, leave=2)
        assert [tables.run_key(*run) for run in plan.missing("a", pair)] == list(pair["runs"])[-2:]

    def test_a_pair_with_missing_runs_is_named(self, ablation, plan, tables):
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

    def test_finished_runs_can_be_repeated(self, plan, tables):
        pair = made_pair(tables)
        self.fill(plan, pair)
        assert len(dataclasses.replace(plan, again=True).missing("a", pair)) == len(pair["runs"])

    def test_default_only_limits_the_runs(self, plan, tables):
        wanted = dataclasses.replace(plan, default_only=True).wanted(made_setup())
        assert wanted == tables.urgent_runs(made_setup(), [DEFAULT], across=False)

    def test_the_engine_of_the_latest_runs_is_stored(self, plan):
        plan.tell_last("a", {"commit": "abc"})
        last = dataclasses.replace(plan, engine="changed").last(["b", "a"])
        assert (last["engine"], last["facts"]) == ("engine", {"commit": "abc"})


class TestNetwork:
    def test_the_shipped_network_is_loaded_with_its_checksum(self, ablation):
        from GenRegLogic.network.apply import SHA256, Learned

        network, digits = ablation.load_network(None)
        assert isinstance(network, Learned)
        assert SHA256.startswith(digits)

    def test_a_file_without_weights_is_refused(self, ablation, tmp_path):
        from measuring import MeasuringError

        (tmp_path / "other.npz").write_bytes(b"no weights")
        with pytest.raises(MeasuringError):
            ablation.load_network(tmp_path / "other.npz")
