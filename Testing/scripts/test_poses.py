"""What the table of poses says."""

import pytest

from .conftest import load_script


@pytest.fixture(scope="module")
def poses():
    return load_script("poses")


def test_the_table_counts_what_was_brought_back_and_what_is_in_doubt(poses):
    header = {"kind": "turned", "away_mm": 1.0, "back": True, "doubted": False, "cpu_s": 1.0, "from": "pose 1"}
    row = {
        "pair": "a_b",
        "objective": 0.25,
        "factor": 1.7,
        "mirrored_ratio": 0.9,
        "mirrored_ratio_flipped": 1.1,
        "headers": [header, header | {"back": False, "doubted": True}, header | {"back": False}],
    }
    page = poses.to_markdown([row], {"created": "2026-11-26", "command": "scripts/poses", "commit": "abc"})
    assert "| a_b | 0.250 | 1.70 | 0.900 | 1.100 | 1 of 3 | 1 |" in page
    assert "scripts/poses" in page
