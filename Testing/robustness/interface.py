"""The Python interface misused: wrong types, callbacks that raise, two threads, cancellation at random moments."""

from __future__ import annotations

import functools
import gc
import os
import resource
import threading
from collections.abc import Callable, Iterator

import numpy as np

from GenRegLogic.errors import Cancelled, GenRegError, InputError

from .samples import ball
from .trial import CRASH, HANG, LEFT, WRONG, Case, Place, expect, shown

CANCELS = 200
FEW = 3
"""Cancellations at random moments, in the whole trial and in the subset."""

GROWTH_BYTES = 60e6
"""What 50 small runs may leave in memory; a leak of one scan and field a run would be more."""

WRONG_THINGS = {
    "None": None,
    "a number": 7,
    "a complex number": 1j,
    "an array": np.zeros((4, 4, 4)),
    "a list": [1, 2],
    "a dict": {},
    "a class": dict,
    "bytes": b"fixed.nii.gz",
    "an empty string": "",
    "a string without a file": "nowhere",
    "NaN": float("nan"),
    "a function": len,
}
ARGUMENTS = (
    "fixed",
    "moving",
    "settings",
    "initial",
    "fixed_mask",
    "moving_mask",
    "fixed_landmarks",
    "moving_landmarks",
    "keep_rigid",
    "regions",
    "on_progress",
    "cancel",
)
SETTINGS = (
    "iterations",
    "init",
    "linear_only",
    "smoothness",
    "resolution_mm",
    "tolerance_mm",
    "network",
    "device",
    "seed",
    "threads",
)
MAY_BE_NONE = ARGUMENTS[2:]


def volumes(n: int = 12):
    from GenRegLogic.space.volume import Volume

    return [Volume.from_array(ball(n, 0.5 * k, k), spacing=(2.0, 2.0, 2.0)) for k in (0, 1)]


def fast(**options):
    from GenRegLogic.settings import Settings

    return Settings(**{"iterations": 0, "linear_only": True, "network": "off"} | options)


def run(*arguments, **options):
    from GenRegLogic.register import register

    return register(*arguments, **options)


def cases() -> Iterator[Case]:
    kind = "Python"
    for argument in ARGUMENTS:
        for number, (name, thing) in enumerate(WRONG_THINGS.items()):
            check = _wrong_argument(argument, thing, name)
            yield Case(kind, f"register, {argument} is {name}", check, number % 3 == len(argument) % 3)
    for setting in SETTINGS:
        for number, (name, thing) in enumerate(WRONG_THINGS.items()):
            yield Case(kind, f"settings, {setting} is {name}", _wrong_setting(setting, thing), number % 2 == 0)
    for what, things in {
        "size": ((0, 1, 1), (1, 2), (-3, 4, 4), ("a", "b", "c"), (2, 2, np.nan), None, (10**30, 1, 1)),
        "spacing": ((0, 1, 1), (1, -1, 1), (np.nan, 1, 1), (np.inf, 1, 1), ("a", 1, 1), (1, 1), None, 5),
        "origin": ((np.nan, 0, 0), (np.inf, 0, 0), (1, 2), ("a", 0, 0), None, 5),
        "direction": (np.zeros((3, 3)), np.ones((3, 3)), np.eye(2), np.eye(4), "abc", np.full((3, 3), np.nan), [1, 2]),
    }.items():
        for number, thing in enumerate(things):
            yield Case(kind, f"a geometry, {what} {number}", _wrong_geometry(what, thing))
    for error in (ValueError, KeyboardInterrupt, InputError, MemoryError, RuntimeError, StopIteration, SystemExit):
        for where in ("on_progress", "cancel"):
            yield Case(
                kind, f"{where} raises {error.__name__}", _raising(where, error), error in (ValueError, SystemExit)
            )
    for n in range(CANCELS):
        yield Case(kind, f"cancelled at a random moment {n}", _cancelled, n < FEW)
    for name, check in PYTHON.items():
        yield Case(kind, name, check)
    for runs in (8, 50):
        check = functools.partial(_no_growth, runs=runs)
        yield Case(kind, f"no growth of memory over {runs} runs", check, runs < 50, 600)


def _wrong_argument(argument: str, thing, name: str) -> Callable:
    def check(place: Place) -> None:
        fixed, moving = volumes()
        arguments = {"fixed": fixed, "moving": moving, "settings": fast()} | {argument: thing}
        possible = (thing is None and argument in MAY_BE_NONE and argument != "settings") or callable(thing)
        try:
            run(**arguments)
        except (GenRegError, TypeError):
            return
        except Exception as error:
            raise_shown(error)
        harmless = possible or (argument == "on_progress" and name == "an empty string") or argument == "settings"
        expect(harmless or thing is None, WRONG, "taken without a word")

    return check


def raise_shown(error: Exception) -> None:
    expect(False, CRASH, shown(error))


def _wrong_setting(setting: str, thing) -> Callable:
    def check(place: Place) -> None:
        from GenRegLogic.settings import Settings

        try:
            made = Settings(**{setting: thing})
        except InputError:
            return
        except Exception as error:
            raise_shown(error)
        good = {"seed": 7, "threads": 7, "iterations": 7, "resolution_mm": 7, "tolerance_mm": 7}
        expect(good.get(setting) == thing or thing is None, WRONG, f"{made}")

    return check


def _wrong_geometry(what: str, thing) -> Callable:
    def check(place: Place) -> None:
        from GenRegLogic.space.geometry import Geometry

        numbers = {"size": (4, 4, 4), "spacing": (1, 1, 1), "origin": (0, 0, 0), "direction": np.eye(3)}
        try:
            Geometry(**numbers | {what: thing})
        except (InputError, TypeError, ValueError):
            return
        expect(what == "size" and thing == (10**30, 1, 1), WRONG, f"{thing} was taken")

    return check


def _raising(where: str, error: type) -> Callable:
    def check(place: Place) -> None:
        def ring(*_):
            raise error("of the caller")

        state = torch_state()
        try:
            run(*volumes(), fast(), **{where: ring})
        except BaseException as caught:
            ended = type(caught)
        else:
            ended = None
        expect(ended in (error, RuntimeError, None) or issubclass(ended, GenRegError), WRONG, f"{ended}")
        expect(ended is not None or where == "on_progress", WRONG, "an error of cancel is swallowed")
        expect(torch_state() == state, LEFT, "the caller's torch is changed")
        run(*volumes(), fast())  # and the next run works

    return check


def torch_state() -> tuple:
    """What a library must leave as it was."""
    import torch

    random = torch.random.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled()
    return torch.get_num_threads(), torch.get_default_dtype(), modes, random, os.getcwd(), tuple(np.geterr().items())


def _cancelled(place: Place) -> None:
    """ "keep" gives a result, "abort" `Cancelled`, whenever it comes."""
    from GenRegLogic.settings import Settings

    answer = place.random.choice(["keep", "abort"])
    calls, wanted = [0], int(10 ** place.random.uniform(0, 2.5))

    def cancel():
        calls[0] += 1
        return answer if calls[0] >= wanted else None

    state = torch_state()
    try:
        result = run(*volumes(), Settings(iterations=4, network="off"), cancel=cancel)
    except Cancelled:
        expect(answer == "abort", WRONG, "given up although it was to be kept")
    else:
        expect(answer == "keep" or calls[0] <= wanted, WRONG, "finished although it was given up")
        expect(bool(np.isfinite(result.forward.array).all()), WRONG, "not finite")
        if calls[0] > wanted + 20:
            expect(result.report["verdict"]["status"] != "trustworthy", WRONG, "stopped early, but trustworthy")
    expect(torch_state() == state, LEFT, "the caller's torch is changed")


def _two_threads(place: Place) -> None:
    """Two registrations at once give what one gives."""
    alone = run(*volumes(), fast()).forward.array
    results, errors = [], []

    def work():
        try:
            results.append(run(*volumes(), fast()).forward.array)
        except Exception as error:
            errors.append(shown(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expect(not any(thread.is_alive() for thread in threads), HANG, "two registrations at once")
    expect(not errors, CRASH, "; ".join(errors))
    expect(all(np.array_equal(result, alone) for result in results), WRONG, "they differ from one alone")


def _state_kept(place: Place) -> None:
    import torch

    kept = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(7)
    try:
        state = torch_state()
        changed = run(*volumes(), fast(threads=1)).forward.array
        expect(torch_state() == state, LEFT, "the caller's torch is changed")
    finally:
        torch.set_default_dtype(kept[1])
    expect(
        np.array_equal(changed, run(*volumes(), fast()).forward.array), WRONG, "the default dtype changes the result"
    )


def _within_grad_modes(place: Place) -> None:
    import torch

    plain = run(*volumes(), fast()).forward.array
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            expect(np.array_equal(run(*volumes(), fast()).forward.array, plain), WRONG, mode.__name__)


def _arrays_kept(place: Place) -> None:
    fixed, moving = volumes()
    for volume in (fixed, moving):
        volume.array.setflags(write=False)
    copies = fixed.array.copy(), moving.array.copy()
    mask = type(fixed)(np.ones_like(fixed.array, dtype=np.uint8), fixed.geometry)
    mask.array.setflags(write=False)
    run(fixed, moving, fast(), fixed_mask=mask)
    expect(all(np.array_equal(a, v.array) for a, v in zip(copies, (fixed, moving))), LEFT, "an array is changed")


def _strided(place: Place) -> None:
    from GenRegLogic.space.volume import Volume

    plain = run(*volumes(), fast()).forward.array
    fixed, moving = volumes()
    other = [Volume(np.asfortranarray(v.array)[::-1][::-1], v.geometry) for v in (fixed, moving)]
    expect(np.array_equal(run(*other, fast()).forward.array, plain), WRONG, "the order in memory changes the result")


def _no_growth(place: Place, runs: int) -> None:
    def resident() -> int:
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    if not os.path.exists("/proc/self/statm"):
        return
    for _ in range(3):
        run(*volumes(8), fast())
    before = resident()
    for _ in range(runs):
        run(*volumes(8), fast())
    expect(resident() - before < GROWTH_BYTES, LEFT, f"{(resident() - before) / 1e6:.0f} MB more after {runs} runs")


def _itself(place: Place) -> None:
    fixed, _ = volumes()
    result = run(fixed, fixed, fast())
    expect(
        float(np.abs(result.forward.array).max()) < 1.0, WRONG, "a scan and itself are moved by more than half a voxel"
    )


PYTHON = {
    "two threads at once": _two_threads,
    "the caller's torch state is kept": _state_kept,
    "within modes of autograd": _within_grad_modes,
    "the caller's arrays are kept": _arrays_kept,
    "arrays in another order in memory": _strided,
    "a scan and itself": _itself,
}
