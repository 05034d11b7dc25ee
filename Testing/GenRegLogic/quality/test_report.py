"""The report: its content, and its agreement with the documented schema."""

import json
from pathlib import Path

import numpy as np
import pytest

from GenRegLogic.errors import Detail, InputError
from GenRegLogic.quality.report import SCHEMA_VERSION, build_report, error_figures, plain, write_report
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

SCHEMA = json.loads((Path(__file__).parents[3] / "GenRegLogic" / "quality" / "report.schema.json").read_text())
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def violations(value, schema, where="report"):
    """Violations of a JSON Schema, as sentences; supports the keywords that the report's schema uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    if "anyOf" in schema:
        attempts = [violations(value, option, where) for option in schema["anyOf"]]
        return [] if any(not found for found in attempts) else attempts[-1]
    if "const" in schema and value != schema["const"]:
        return [f"{where} is not {schema['const']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is none of {schema['enum']}"]
    names = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if names and not any(has_type(value, name) for name in names):
        return [f"{where} is no {' or '.join(names)}"]
    if isinstance(value, dict):
        return violations_of_object(value, schema, where)
    if isinstance(value, list):
        found = [] if schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)) else [where]
        return found + [v for n, x in enumerate(value) for v in violations(x, schema.get("items", {}), f"{where}[{n}]")]
    if has_type(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return [f"{where} is out of range"]
    return []


def violations_of_object(value, schema, where):
    found = [f"{where} lacks {key}" for key in schema.get("required", []) if key not in value]
    for key, item in value.items():
        rule = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
        found += [f"{where} has {key} too many"] if rule is False else violations(item, rule or {}, f"{where}.{key}")
    return found


def has_type(value, name):
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


@pytest.fixture
def parts():
    """Arguments of `build_report` for a good registration."""
    return {
        "fixed": Geometry((30, 20, 10), (1.0, 1.0, 2.5)),
        "moving": Geometry((31, 21, 11), (1.0, 1.0, 2.0), (5.0, 0.0, 0.0)),
        "settings": {"iterations": 40, "seed": 7, "device": "cpu"},
        "device": "cpu",
        "descriptor": "mind",
        "linear_matrix": np.eye(4),
        "stages": [{"name": "prepare", "seconds": 0.5, "peak_memory_mb": 100.0}],
        "objective": [{"level": 0, "iteration": 0, "objective": np.float32(0.5)}],
        "similarity_before": {"nmi": 1.05, "lncc": 0.2},
        "similarity_after": {"nmi": 1.15, "lncc": 0.4},
        "jacobian": {"folds_pct": 0.0, "ndv_pct": 0.0, "sdlogj": 0.1, "min_det": 0.5, "max_det": 2.0},
        "inverse_error": {"mean_mm": 0.01, "max_mm": 0.2},
        "confidence": {"mean_mm": 0.5, "p95_mm": 1.5},
        "landmarks": {"count": 4, "tre_before_mm": 9.0, "tre_after_mm": 1.0},
    }


def test_a_full_report_satisfies_the_schema(parts):
    assert violations(build_report(**parts), SCHEMA) == []


def test_a_report_without_optional_figures_satisfies_the_schema(parts):
    for name in ("inverse_error", "confidence", "landmarks"):
        parts.pop(name)
    assert violations(build_report(**parts), SCHEMA) == []


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"surprise": 1}, {"descriptor": None}, {"stages": [{}]}])
def test_a_wrong_report_violates_the_schema(parts, change):
    assert violations(build_report(**parts) | change, SCHEMA) != []


def test_every_key_of_the_schema_has_a_type_and_the_version_is_current():
    assert SCHEMA["properties"].keys() >= {"verdict", "similarity", "jacobian"}
    for key, rule in SCHEMA["properties"].items():
        assert rule.keys() & {"type", "$ref", "anyOf", "const"}, key
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_the_seed_comes_from_the_settings_and_the_total_time_from_the_stages(parts):
    parts["stages"].append({"name": "refine", "seconds": 2.0, "peak_memory_mb": None})
    report = build_report(**parts)
    assert report["seed"] == 7
    assert report["seconds"] == 2.5


def test_values_that_are_not_finite_become_null(parts):
    parts["jacobian"]["max_det"] = np.float32("inf")
    parts["objective"][0]["objective"] = float("nan")
    report = build_report(**parts)
    assert report["jacobian"]["max_det"] is None
    assert report["objective"][0]["objective"] is None
    json.dumps(report, allow_nan=False)


def test_a_repeated_warning_is_listed_once(parts):
    report = build_report(**parts, warnings=["The mask was resampled."] * 2)
    assert report["warnings"] == ["The mask was resampled."]


def test_notes_for_programs_are_listed_as_details_too(parts):
    report = build_report(**parts | {"notes": ["For all.", Detail("For programs: 0.5.")]})
    assert report["notes"] == ["For all.", "For programs: 0.5."]
    assert report["details"] == ["For programs: 0.5."]


def test_a_written_report_is_read_back_unchanged(parts, tmp_path):
    report = build_report(**parts)
    write_report(report, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report


def test_a_missing_folder_is_refused_and_nothing_is_written(parts, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_report(build_report(**parts), tmp_path / "nowhere" / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_leaves_the_previous_file_unchanged(parts, tmp_path):
    path = tmp_path / "report.json"
    write_report(build_report(**parts), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="cannot hold"):
        write_report({"strange": object()}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_numbers_and_dataclasses_become_plain_json_values():
    geometry = Geometry((3, 4, 5))
    mixed = {"a": np.arange(3), "b": np.bool_(True), "c": (np.float64(1.5),)}
    assert plain(mixed) == {"a": [0, 1, 2], "b": True, "c": [1.5]}
    assert plain(geometry)["size"] == [3, 4, 5]


def test_a_report_without_the_expected_error_is_not_trustworthy_and_says_why(parts):
    verdict = build_report(**parts | {"confidence": None})["verdict"]
    assert verdict["status"] == "check"
    assert any("expected error was not measured" in reason for reason in verdict["reasons"])


def test_an_unknown_figure_is_refused(parts):
    with pytest.raises(TypeError, match="surprise"):
        build_report(**parts, surprise=1)


class TestErrorFigures:
    grid = Geometry((10, 10, 10), (4.0, 4.0, 4.0))

    def of(self, errors, body=None, tolerance=2.0):
        body = np.ones(errors.shape, bool) if body is None else body
        return error_figures(Volume(errors.astype(np.float32), self.grid), body, 1.0, tolerance)

    def test_only_judged_places_of_the_body_count(self):
        errors, body = np.full((10, 10, 10), 50.0), np.zeros((10, 10, 10), bool)
        body[:4], errors[:2], errors[2:4] = True, 1.0, 0.0
        figures = self.of(errors, body)
        assert figures["mean_mm"] == pytest.approx(1.0)
        assert figures["judged_share"] == 0.5

    def test_without_a_judged_place_there_are_no_figures(self):
        assert self.of(np.zeros((10, 10, 10))) is None

    def test_the_share_within_the_tolerance_rises_with_it_and_falls_with_the_error(self):
        small, large = np.full((10, 10, 10), 1.0), np.full((10, 10, 10), 3.0)
        shares = [self.of(errors, tolerance=t)["within_share"] for errors, t in ((large, 2), (small, 2), (small, 4))]
        assert 0 < shares[0] < 0.5 < shares[1] < shares[2] < 1

    def test_as_many_errors_lie_within_the_percentiles_as_they_say(self):
        errors = np.random.default_rng(0).lognormal(0.0, 0.7, (10, 10, 10))
        figures = self.of(errors)
        for key, share in (("median_mm", 0.5), ("p90_mm", 0.9), ("p95_mm", 0.95)):
            assert self.of(errors, tolerance=figures[key])["within_share"] == pytest.approx(share, abs=1e-3)
