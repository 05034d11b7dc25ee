"""The measuring scripts: comparison, means, tables, resumption, and the cost of processes."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from .conftest import load_script


@pytest.fixture
def benchmark():
    return load_script("benchmark")


@pytest.fixture
def iterations():
    return load_script("iterations")


@pytest.fixture
def tables():
    import benchmark_tables

    return benchmark_tables


@pytest.fixture
def measuring():
    import measuring

    return measuring


def run(*, dice=None, tre_mm=None, **more):
    score = {key: value for key, value in (("dice", dice), ("tre_mm", tre_mm)) if value is not None}
    return {"score": score | {"folds_pct": 0.0, "ndv_pct": 0.0, "sdlogj": 0.3}} | more


PEERS = ["ants", "greedy"]


def two_pairs():
    return {
        "a": {
            "genreg": run(
                dice=0.80,
                session="s",
                wall_s=4.0,
                cpu_s=6.0,
                peak_mb=900.0,
                inverse_error={"mean_mm": 0.02},
                verdict="trustworthy",
            ),
            "ants": run(dice=0.70),
            "greedy": run(dice=0.75, session="s", wall_s=5.0, cpu_s=8.0),
        },
        "b": {
            "genreg": run(
                dice=0.60,
                tre_mm=1.1,
                session="s",
                wall_s=4.0,
                cpu_s=6.0,
                peak_mb=700.0,
                inverse_error={"mean_mm": 0.01},
                verdict="check",
            ),
            "ants": run(dice=0.65, tre_mm=1.0),
            "greedy": run(dice=0.50, tre_mm=2.0, session="s", wall_s=8.0, cpu_s=12.0),
        },
    }


class TestRanking:
    def test_the_best_peer_has_the_highest_dice(self, tables):
        assert tables.best_peer(two_pairs()["a"], PEERS, tables.DICE) == ("greedy", 0.75)

    def test_the_best_peer_has_the_lowest_tre(self, tables):
        assert tables.best_peer(two_pairs()["b"], PEERS, tables.TRE) == ("ants", 1.0)

    def test_a_pair_without_landmarks_has_no_best_peer_in_tre(self, tables):
        assert tables.best_peer(two_pairs()["a"], PEERS, tables.TRE) is None

    @pytest.mark.parametrize(
        ("own", "other", "expected"),
        [(0.80, 0.75, "ahead"), (0.75, 0.75, "ahead"), (0.74, 0.75, "within"), (0.739, 0.75, "behind")],
    )
    def test_dice_within_a_hundredth_of_the_best_is_tolerated(self, tables, own, other, expected):
        assert tables.DICE.standing(own, other) == expected

    @pytest.mark.parametrize(
        ("own", "other", "expected"), [(1.9, 2.0, "ahead"), (2.1, 2.0, "within"), (2.11, 2.0, "behind")]
    )
    def test_tre_within_five_percent_of_the_best_is_tolerated(self, tables, own, other, expected):
        assert tables.TRE.standing(own, other) == expected

    def test_pairs_behind_are_named_with_figure_and_peer(self, tables):
        behind = tables.compare(two_pairs(), PEERS)["summary"]["behind"]
        assert [(row["case"], row["figure"], row["peer"]) for row in behind] == [
            ("b", "dice", "ants"),
            ("b", "tre_mm", "ants"),
        ]


class TestMeans:
    def test_means_are_over_the_pairs_that_have_the_figure(self, tables):
        means = tables.compare(two_pairs(), PEERS)["means"]
        assert means["dice"]["pairs"] == 2
        assert means["tre_mm"]["pairs"] == 1
        assert means["dice"]["methods"] == pytest.approx({"genreg": 0.70, "ants": 0.675, "greedy": 0.625})

    def test_the_best_peers_of_all_pairs_have_a_mean(self, tables):
        assert tables.compare(two_pairs(), PEERS)["means"]["dice"]["best_peer_of_each_pair"] == pytest.approx(0.70)

    def test_a_pair_that_every_peer_lost_is_left_out_of_the_means(self, tables):
        runs = two_pairs()
        for peer in PEERS:
            if peer in runs["a"]:
                runs["a"][peer]["score"]["dice"] = 0.0
        kept = tables.compare({"b": two_pairs()["b"]}, PEERS)["means"]["dice"]
        assert tables.compare(runs, PEERS)["means"]["dice"] == kept

    def test_a_peer_without_all_pairs_has_no_mean(self, tables):
        runs = two_pairs()
        del runs["a"]["ants"]
        assert set(tables.compare(runs, PEERS)["means"]["dice"]["methods"]) == {"genreg", "greedy"}

    def test_a_pair_without_a_run_of_genreg_is_left_out_and_named(self, tables):
        runs = two_pairs()
        del runs["a"]["genreg"]
        found = tables.compare(runs, PEERS)
        assert found["missing"] == ["a"]
        assert found["means"]["dice"]["pairs"] == 1


class TestTime:
    def test_the_ratio_to_greedy_is_the_median_over_pairs(self, tables):
        ratio = tables.compare(two_pairs(), PEERS)["summary"]["median_time_ratio"]
        assert ratio == pytest.approx({"wall": (0.8 + 0.5) / 2, "cpu": (0.75 + 0.5) / 2})

    def test_seconds_of_different_sessions_are_not_compared(self, tables):
        runs = two_pairs()
        runs["a"]["greedy"]["session"] = "another"
        found = tables.compare(runs, PEERS)
        assert found["cases"]["a"]["time_ratio"] == {}
        assert found["summary"]["median_time_ratio"]["cpu"] == pytest.approx(0.5)

    def test_published_seconds_are_not_compared(self, tables):
        runs = two_pairs()
        runs["a"]["greedy"] = {"score": {"dice": 0.7}, "source": "peers.json"}
        assert tables.compare(runs, PEERS)["cases"]["a"]["time_ratio"] == {}


class TestGoals:
    def test_each_goal_states_whether_it_is_met(self, tables):
        met = {row["goal"]: row["met"] for row in tables.compare(two_pairs(), PEERS)["goals"]}
        assert met["mean Dice ahead of every peer"] is True
        assert met["mean Dice ahead of the best peer of each pair"] is False
        assert met["no pair behind its best peer by more than 0.01 Dice or 5 % TRE"] is False
        assert met["CPU time against Greedy's, median: at most 1"] is True

    def test_a_goal_that_was_not_measured_is_neither_met_nor_missed(self, tables):
        runs = two_pairs()
        for methods in runs.values():
            methods["greedy"]["session"] = None
        goals = tables.compare(runs, PEERS)["goals"]
        assert goals[-1]["met"] is None

    def test_the_measured_inverse_error_replaces_the_reported_one(self, tables):
        runs = two_pairs()
        runs["a"]["genreg"]["inverse_checked"] = {"mean_mm": 0.3, "max_mm": 2.0}
        assert tables.compare(runs, PEERS)["summary"]["max_inverse_error_mean_mm"] == 0.3


def page(tables, runs, reasons=None):
    facts = {
        "created": "2000-01-01",
        "command": "scripts/benchmark",
        "commit": "abc",
        "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 8.0, "system": "Linux"},
    }
    content = facts | {"peers": PEERS, "genreg_command": "genreg register", "versions": {"genreg": "1"}}
    return tables.to_markdown(content | tables.compare(runs, PEERS), reasons)


class TestMarkdown:
    def test_rows_are_bold_where_ahead_and_marked_where_behind(self, tables):
        text = page(tables, two_pairs())
        assert "| a | **0.8000** | 0.7000 | *0.7500* | 0.7500 | +0.0500 |" in text
        assert "| b | 0.6000 ▼ | *0.6500* | 0.5000 | 0.6500 | -0.0500 |" in text

    def test_the_last_row_holds_the_means(self, tables):
        assert "| mean of 2 | **0.7000** | 0.6750 | 0.6250 | 0.7000 | +0.0000 |" in page(tables, two_pairs())

    def test_every_row_of_a_table_has_as_many_cells_as_its_header(self, tables):
        found = [block.splitlines() for block in page(tables, two_pairs()).split("\n\n") if block.startswith("|")]
        assert len(found) == 5
        assert all(len({line.count("|") for line in lines}) == 1 for lines in found)

    def test_the_reason_for_being_behind_is_quoted(self, tables):
        assert "behind ANTs. Few voxels." in page(tables, two_pairs(), {"b": "Few voxels."})

    def test_tre_without_outlying_landmarks_is_also_listed(self, tables):
        runs = two_pairs()
        runs["brain_mni_colin_afids"] = {"genreg": run(tre_mm=3.0), "ants": run(tre_mm=3.1)}
        runs["brain_mni_colin_afids"]["genreg"]["score"]["tre_mm_without"] = 2.0
        text = page(tables, runs)
        assert "brain_mni_colin_afids without landmarks 29 and 30" in text
        assert "TRE GenReg 2.000 mm" in text


class TestResumption:
    @pytest.fixture
    def plan(self, benchmark, measuring, tmp_path):
        bench = SimpleNamespace(folder=tmp_path)
        (tmp_path / "peers.py").write_text("one setting")
        finished = measuring.Finished(tmp_path / "runs.json")
        return benchmark.Plan(
            bench, ["a"], ["greedy", "ants"], finished, tmp_path, tmp_path, tmp_path, 2, False, "engine 1", "now"
        )

    def keep(self, plan, **sessions):
        for method, session in sessions.items():
            plan.finished.put(*plan.key("a", method), run={"session": session})

    def test_at_first_all_methods_are_pending_with_genreg_first(self, benchmark, plan):
        assert benchmark.pending(plan, "a") == ["genreg", "greedy", "ants"]

    def test_nothing_is_pending_when_all_is_finished(self, benchmark, plan):
        self.keep(plan, genreg="s", greedy="s", ants="r")
        assert benchmark.pending(plan, "a") == []

    def test_only_missing_runs_are_pending(self, benchmark, plan):
        self.keep(plan, genreg="s", greedy="s")
        assert benchmark.pending(plan, "a") == ["ants"]

    def test_finished_runs_can_be_repeated(self, benchmark, plan):
        self.keep(plan, genreg="s", greedy="s", ants="s")
        assert benchmark.pending(plan, "a", again=True) == ["genreg", "greedy", "ants"]

    def test_a_changed_engine_is_measured_again_together_with_greedy(self, benchmark, plan):
        self.keep(plan, genreg="s", greedy="s", ants="s")
        assert benchmark.pending(dataclasses.replace(plan, engine="engine 2"), "a") == ["genreg", "greedy"]

    def test_genreg_and_greedy_of_two_sessions_are_measured_again(self, benchmark, plan):
        self.keep(plan, genreg="s", greedy="r", ants="s")
        assert benchmark.pending(plan, "a") == ["genreg", "greedy"]

    def test_a_changed_setting_of_the_peers_is_measured_again(self, benchmark, plan):
        self.keep(plan, genreg="s", greedy="s", ants="s")
        (plan.bench.folder / "peers.py").write_text("another setting")
        assert benchmark.pending(plan, "a") == ["genreg", "greedy", "ants"]

    def test_finished_runs_are_read_from_the_file(self, measuring, plan):
        self.keep(plan, ants="s")
        reopened = measuring.Finished(plan.work / "runs.json")
        assert reopened.get(*plan.key("a", "ants")) == {"session": "s"}

    def test_the_fingerprint_follows_content_and_names(self, measuring, tmp_path):
        folder = tmp_path / "engine"
        folder.mkdir()
        (folder / "a.py").write_text("1")
        first = measuring.fingerprint(folder)
        (folder / "a.pyc").write_text("compiled")
        assert measuring.fingerprint(folder) == first
        (folder / "a.py").rename(folder / "b.py")
        assert measuring.fingerprint(folder) != first

    def test_published_scores_are_used_without_their_seconds(self, benchmark, plan):
        plan.finished.put(*plan.key("a", "genreg"), run={"score": {"dice": 0.8}})
        plan.bench.peers = {"a": {"ants": {"seconds": 3.0, "score": {"dice": 0.7}}}}
        runs = benchmark.gather(plan, ["ants", "greedy"])
        assert runs["a"]["ants"] == {"score": {"dice": 0.7}, "source": "peers.json"}
        assert "greedy" not in runs["a"]

    def test_a_peer_that_failed_on_a_pair_is_left_out_there(self, benchmark, plan):
        plan.bench.peers = {"a": {"ants": {"seconds": None, "score": None}}}
        assert "ants" not in benchmark.gather(plan, ["ants"])["a"]


class TestInverse:
    def test_the_inverse_error_is_measured_where_the_transform_maps_into_the_moving_scan(self, benchmark, tmp_path):
        k, _, _ = np.indices((8, 8, 8))
        scan = sitk.GetImageFromArray(k.astype(np.float32))
        sitk.WriteImage(scan, str(tmp_path / "scan.nii"))
        sitk.WriteTransform(sitk.TranslationTransform(3, (0.0, 0.0, 3.0)), str(tmp_path / "there.tfm"))
        sitk.WriteTransform(sitk.TranslationTransform(3, (0.0, 0.0, -2.5)), str(tmp_path / "back.tfm"))
        referee = SimpleNamespace(read_transform=sitk.ReadTransform)
        bench = SimpleNamespace(file=lambda case, key: tmp_path / "scan.nii", referee=referee)
        found = benchmark.inverse_consistency(bench, "a", tmp_path / "there.tfm", tmp_path / "back.tfm")
        assert found == {"mean_mm": 0.5, "max_mm": 0.5}


class TestProcesses:
    def test_a_process_is_measured_with_its_exit_code_and_output(self, measuring, tmp_path):
        code = "import os, sys; block = b'x' * 200_000_000; os.write(1, b'a word'); sys.exit(3)"
        taken = measuring.measure_process([sys.executable, "-c", code], tmp_path / "log")
        assert taken.exit_code == 3
        assert 200 < taken.peak_mb < 400
        assert measuring.last_line(tmp_path / "log") == "a word"

    def test_the_memory_of_a_child_process_counts(self, measuring, tmp_path):
        child = "block = b'x' * 200_000_000"
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
        assert measuring.measure_process([sys.executable, "-c", code], tmp_path / "log").peak_mb > 200

    def test_the_memory_of_this_process_does_not_count(self, measuring, tmp_path):
        block = np.ones(40_000_000)
        taken = measuring.measure_process([sys.executable, "-S", "-c", "pass"], tmp_path / "log")
        assert taken.peak_mb < block.nbytes / 1e6 / 2

    def test_a_missing_command_has_an_exit_code_of_its_own(self, measuring, tmp_path):
        taken = measuring.measure_process([tmp_path / "nothing"], tmp_path / "log")
        assert taken.exit_code == measuring.NOT_FOUND
        assert "nothing could not be started" in measuring.last_line(tmp_path / "log")


class TestBadInput:
    def test_a_missing_folder_of_scans_is_refused_with_one_sentence(self, measuring, tmp_path):
        with pytest.raises(measuring.MeasuringError, match=r"cases\.json is not in .*; say with --data"):
            measuring.load_bench(tmp_path, tmp_path)

    def test_a_missing_referee_is_refused_with_one_sentence(self, measuring, tmp_path):
        (tmp_path / "cases.json").write_text(json.dumps({"cases": []}))
        with pytest.raises(measuring.MeasuringError, match=r"score\.py is not in .*; say with --bench"):
            measuring.load_bench(tmp_path, tmp_path)

    def test_an_unknown_name_is_refused_with_the_known_ones(self, measuring):
        with pytest.raises(measuring.MeasuringError, match="there is no peer nobody; there are ants, greedy"):
            measuring.chosen("ants,nobody", PEERS, "peer")

    def test_a_script_exits_with_status_2_and_without_a_traceback(self, measuring, monkeypatch, capsys):
        def fail():
            raise measuring.MeasuringError("it is not there.")

        monkeypatch.setattr(sys, "argv", ["scripts/benchmark"])
        with pytest.raises(SystemExit) as left:
            measuring.run_script(fail)
        assert left.value.code == 2
        assert capsys.readouterr().err == "benchmark: it is not there.\n"


class TestProvenance:
    def test_a_published_command_contains_no_folder_of_the_machine(self, measuring):
        typed = ["scripts/benchmark", "--peer-python", "/home/me/venv/bin/python", "--data=/x/y"]
        shown = measuring.shown_command(typed)
        assert shown == "scripts/benchmark --peer-python …/python --data=…/y"

    def test_the_machine_is_described_without_its_name(self, measuring, monkeypatch):
        monkeypatch.setattr(measuring.platform, "node", lambda: "name-of-this-host")
        monkeypatch.setenv("HOSTNAME", "name-of-this-host")
        found = measuring.machine()
        assert set(found) == {"cpu", "cores", "memory_gb", "system", "environment"}
        assert "name-of-this-host" not in json.dumps(found)


class TestIterations:
    @pytest.fixture
    def runs(self):
        taken = {"seconds": 3.0, "cpu_s": 5.0, "refine_s": 1.0}
        return {
            "a": {0: run(dice=0.5, **taken), 40: run(dice=0.7, **taken)},
            "b": {0: run(dice=0.6, tre_mm=3.0, **taken), 40: run(dice=0.5, tre_mm=2.0, **taken)},
        }

    def test_averages_are_absolute_and_relative_to_each_pairs_best(self, iterations, runs):
        first, last = iterations.averages(runs, [0, 40])
        assert (first["dice"], last["dice"]) == pytest.approx((0.55, 0.6))
        assert (first["dice_against_best"], last["dice_against_best"]) == pytest.approx((-0.1, -0.05))
        assert (first["tre_mm_against_best"], last["tre_mm_against_best"]) == pytest.approx((1.5, 1.0))
        assert last["median_seconds"] == 3.0

    def test_a_pair_without_all_counts_is_left_out_of_the_means(self, iterations, runs):
        runs["a"][40] = None
        assert list(iterations.complete(runs)) == ["b"]

    def test_the_default_is_always_included_in_the_counts(self, iterations):
        assert iterations.read_counts("160,0", 40) == [0, 40, 160]

    @pytest.mark.parametrize("text", ["ten", "5,,10", "-1"])
    def test_counts_that_are_not_whole_numbers_are_refused(self, iterations, text):
        from measuring import MeasuringError

        with pytest.raises(MeasuringError, match="--counts wants"):
            iterations.read_counts(text, 40)

    def test_the_plot_is_drawn(self, iterations, runs, tmp_path):
        iterations.draw(runs, iterations.averages(runs, [0, 40]), 40, tmp_path / "iterations.png")
        assert (tmp_path / "iterations.png").stat().st_size > 10_000


class TestMemory:
    def test_the_synthetic_scans_are_the_same_noise_deformed(self, tmp_path):
        load_script("memory").write_pair((48, 40, 32), tmp_path)
        a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}.nii"))) for name in ("fixed", "moving"))
        assert a.shape == b.shape == (32, 40, 48)
        assert abs(a.std() / b.std() - 1) < 0.1
        assert 0.1 < np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.95
