"""Every setting is checked, and the message says what is wrong."""

import dataclasses

import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.settings import DEFAULT_ITERATIONS, Settings

GOOD = {
    "iterations": [None, 0, 1, 10_000],
    "init": ["auto", "any", "header", "center", "none"],
    "linear_only": [True, False],
    "smoothness": [0.25, 1, 1.5, 4.0],
    "resolution_mm": [None, 0.05, 1, 8.0],
    "transform_spacing_mm": [None, 0.0, 0.05, 3],
    "network": ["auto", "off", "propose", "describe", "both"],
    "device": ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"],
    "seed": [0, 1, 2**62],
    "threads": [None, 1, 64],
    "kind": ["deformable", "affine", "similarity", "rigid"],
    "one_way": [True, False],
    "tolerance_mm": [None, 0.01, 2, 30.0],
}
BAD = {
    "iterations": [-1, 10_001, 1.5, "10", True, float("nan")],
    "init": ["", "headers", "AUTO", None, 1],
    "linear_only": ["no", 1, None],
    "smoothness": [0.0, -1.0, 0.2, 4.1, float("nan"), float("inf"), "1", None, True],
    "resolution_mm": [0.0, -1.0, float("nan"), float("inf"), "1", True],
    "transform_spacing_mm": [-1.0, float("nan"), float("inf"), "full", True],
    "network": ["", "on", True, None, 1],
    "device": ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu ", None, 0],
    "seed": [-1, 1.0, "0", None, True, 2**63],
    "threads": [0, -1, 1.5, "2", True, 5000],
    "kind": ["", "Rigid", "linear", True, None, 6],
    "one_way": ["no", 1, None],
    "tolerance_mm": [0.0, -2.0, float("nan"), float("inf"), "2", True],
}


def cases(values):
    return [(name, value) for name, several in values.items() for value in several]


def test_every_setting_is_tested_here():
    assert set(GOOD) == {field.name for field in dataclasses.fields(Settings)}
    assert set(BAD) == set(GOOD)


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_a_valid_value_is_accepted(name, value):
    assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), cases(BAD))
def test_an_invalid_value_is_refused_with_one_sentence(name, value):
    with pytest.raises(InputError) as caught:
        Settings(**{name: value})
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert name.partition("_")[0].lower() in text.lower()


def test_a_list_as_init_is_refused_with_one_sentence():
    with pytest.raises(InputError, match="init must be one of"):
        Settings(init=["auto"])


@pytest.mark.parametrize(
    ("given", "linear", "kind"),
    [({}, False, "deformable"), ({"linear_only": True}, True, "affine"), ({"kind": "rigid"}, True, "rigid")],
)
def test_the_older_name_of_an_affine_run_and_the_kind_agree(given, linear, kind):
    settings = Settings(**given)
    assert settings.linear is linear
    resolved = settings.resolved()
    assert (resolved["linear_only"], resolved["kind"]) == (linear, kind)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().seed = 3


def test_no_iterations_given_means_the_default():
    assert Settings().coarse_iterations == DEFAULT_ITERATIONS
    assert Settings(iterations=0).coarse_iterations == 0
    assert Settings(iterations=7).coarse_iterations == 7


def test_the_resolved_settings_have_the_values_of_the_defaults():
    resolved = Settings().resolved()
    assert (resolved["iterations"], resolved["network"]) == (DEFAULT_ITERATIONS, "both")
    assert Settings(iterations=3, network="off").resolved()["network"] == "off"


@pytest.mark.parametrize(
    ("network", "proposes", "describes"),
    [("off", False, False), ("propose", True, False), ("describe", False, True), ("both", True, True)],
)
def test_the_network_setting_selects_proposing_and_describing(network, proposes, describes):
    settings = Settings(network=network)
    assert (settings.proposes, settings.describes) == (proposes, describes)
