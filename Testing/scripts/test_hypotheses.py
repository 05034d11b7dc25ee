"""The figures on which the choice between hypotheses rests."""

from .conftest import load_script


def test_the_table_has_a_row_for_each_pair():
    script = load_script("hypotheses")
    row = {
        "pair": "a_b",
        "agreement": 0.97,
        "rivals": 0,
        "rival_gain": None,
        "strained_share": 0.19,
        "sliding": -0.061,
        "sliding_best": -0.131,
    }
    page = script.to_markdown(
        [row, row | {"pair": "c_d", "rivals": 2, "rival_gain": 0.9}],
        {"created": "2026-11-27", "command": "scripts/hypotheses", "commit": "abc"},
    )
    assert "| a_b | 0.97 | 0 | – | 0.190 | -0.061 | -0.131 |" in page
    assert "| c_d | 0.97 | 2 | 0.900 | 0.190 | -0.061 | -0.131 |" in page


def test_the_figures_of_a_pair_are_those_of_the_engine(tmp_path):
    from GenRegLogic import write_volume
    from GenRegLogic.phantom import make_pair

    pair = make_pair(coarseness=3.0)
    paths = tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz"
    for path, volume in zip(paths, (pair.fixed, pair.moving)):
        write_volume(volume, path)
    row = load_script("hypotheses").measured(*paths)
    assert -1 <= row["agreement"] < 0.78  # CT and MR
    assert 0 <= row["strained_share"] <= 1
    assert row["sliding_best"] <= row["sliding"]
    assert (row["rival_gain"] is None) == (row["rivals"] == 0)
