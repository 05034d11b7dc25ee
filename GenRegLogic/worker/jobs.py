"""The jobs of the worker. This module loads torch, so only the worker's process imports it.

Each job takes its parameters (JSON values), its arrays by name and a `JobControl`, and returns an `Outcome`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from ..htmlreport import build_html, measured_report
from ..machine.device import list_devices
from ..register import register
from ..registration import Registration
from ..repair import repair
from ..settings import Settings
from ..space.field import AffineTransform, DisplacementField, Transform
from ..space.geometry import Geometry
from ..space.margin import nodeGeometry, withMargin
from ..space.registrable import check_registrable
from ..space.volume import Volume
from ..stages.alignment import align
from ..stages.prepare import prepare
from ..stages.schedule import SAME_CONTRAST, contrast_agreement
from .control import JobControl

__all__ = ["JOBS", "Outcome", "outcome_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a job.

    Attributes:
        report: JSON values.
        arrays: Arrays by name.
        geometries: Grids (LPS, mm) of those arrays that have one, by the same names.
    """

    report: dict
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    geometries: dict[str, Geometry] = dataclasses.field(default_factory=dict)


def _readers(parameters: dict, arrays: dict[str, np.ndarray]) -> tuple[Callable, Callable]:
    """Two functions that return a job's volumes and points (LPS mm) by name; None for what was not sent."""

    def volume(name: str) -> Volume | None:
        return Volume(arrays[name], Geometry.from_dict(parameters[name])) if parameters.get(name) else None

    def points(name: str) -> np.ndarray | None:
        return None if parameters.get(name) is None else np.array(parameters[name], np.float64)

    return volume, points


def run_register(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Register two scans.

    Args:
        parameters: "settings" (fields of `Settings`); "fixed" and "moving" (grids, as `Geometry.to_dict` returns
            them); optionally "fixed_mask", "moving_mask", "keep_rigid" (grids), "initial" ({"matrix": 4x4} or
            {"geometry": grid}; LPS mm, fixed -> moving), "fixed_landmarks", "moving_landmarks" ((n, 3) LPS mm);
            "want_inverse", "want_warped" and "margin" (true: forward and inverse field get the grid of a transform
            node in Slicer, see `space.margin.withMargin`).
        arrays: "fixed", "moving" (k, j, i) and, if the parameters name them, "fixed_mask", "moving_mask",
            "keep_rigid" (k, j, i) and "initial" (k, j, i, 3) mm.
        control: Receives the progress and the log, and may request to stop.

    Returns:
        Arrays "forward" (k, j, i, 3) float32, LPS mm, fixed -> moving, and "confidence" (expected error, (k, j, i)
        mm); "inverse" (moving -> fixed) and "warped" if wanted; and the report.

    Raises:
        InputError: As `register.register`.
        Cancelled: The program has requested "abort".
    """
    settings = Settings(**parameters["settings"])

    volume, points = _readers(parameters, arrays)
    result = register(
        volume("fixed"),
        volume("moving"),
        settings,
        initial=_initial(parameters.get("initial"), arrays),
        fixed_mask=volume("fixed_mask"),
        moving_mask=volume("moving_mask"),
        keep_rigid=volume("keep_rigid"),
        fixed_landmarks=points("fixed_landmarks"),
        moving_landmarks=points("moving_landmarks"),
        on_progress=control.on_progress,
        cancel=control.cancel,
    )
    return outcome_of(result, parameters, control)


def outcome_of(result: Registration, parameters: dict, control: JobControl) -> Outcome:
    """The result of a registration or a repair as a job's outcome.

    Args:
        result: The registration.
        parameters: As for `run_register`, of which "want_inverse", "want_warped" and "margin" are used.
        control: Receives the log, and may request to stop.

    Raises:
        Cancelled: The program has requested "abort".
    """
    fields = {"forward": result.forward}
    images = {} if result.confidence is None else {"confidence": result.confidence}
    report = result.report
    if parameters.get("want_inverse"):
        control.check()
        fields["inverse"] = result.inverse()
        report = result.report_with_inverse()
    if parameters.get("want_warped"):
        control.check()
        images["warped"] = result.warped()
    control.check()
    outcome = Outcome(report)
    for name, field in fields.items():
        outcome.arrays[name], outcome.geometries[name] = (
            _for_slicer(field) if parameters.get("margin") else (field.array, field.geometry)
        )
    for name, image in images.items():
        outcome.arrays[name], outcome.geometries[name] = image.array, image.geometry
    _log_report(report, control)
    return outcome


def _for_slicer(field: DisplacementField) -> tuple[np.ndarray, Geometry]:
    """A field as Slicer's transform node holds it, on a coarser grid if it is very large."""
    geometry = nodeGeometry(field.geometry)
    if geometry is not field.geometry:
        field = field.resampled(geometry).rounded()
    return withMargin(field.array, field.geometry)


def _initial(description: dict | None, arrays: dict[str, np.ndarray]) -> Transform | None:
    if description is None:
        return None
    if "matrix" in description:
        return AffineTransform(np.array(description["matrix"], np.float64))
    return DisplacementField(arrays["initial"], Geometry.from_dict(description["geometry"]))


def _log_report(report: dict, control: JobControl) -> None:
    control.log(", ".join(f"{name} {version}" for name, version in report["versions"].items()))
    control.log(f"device: {report['device']}")
    for stage in report["stages"]:
        memory = "" if stage["peak_memory_mb"] is None else f", {stage['peak_memory_mb']:.0f} MB"
        control.log(f"{stage['name']}: {stage['seconds']:.1f} s{memory}")
    for sentence in (*report["warnings"], *report["notes"]):
        control.log(sentence)


def run_inspect(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Determine from coarse versions of two scans whether they seem to have the same contrast.

    Args:
        parameters: "fixed" and "moving" (grids).
        arrays: "fixed" and "moving" (k, j, i).
        control: May request to stop.

    Returns:
        A report with "agreement" (see `contrast_agreement`, after linear alignment) and "same_contrast".

    Raises:
        InputError: A scan is constant or not finite.
        Cancelled: The program has requested "abort".
    """
    cpu = torch.device("cpu")
    with torch.inference_mode():
        prepared = {}
        for role in ("fixed", "moving"):
            scan = check_registrable(Volume(arrays[role], Geometry.from_dict(parameters[role])), role)
            prepared[role] = prepare(scan, mask=None, device=cpu, role=role)
        linear, level = align(prepared["fixed"], prepared["moving"], tell=lambda fraction: control.check())
        agreement = contrast_agreement(level, prepared["fixed"], linear.matrix, None)
    return Outcome({"agreement": agreement, "same_contrast": agreement > SAME_CONTRAST})


def run_devices(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """List the devices of this computer; uses neither parameters nor arrays.

    Returns:
        A report with "devices", each {"id": "cpu", "cuda:N" or "mps", "name": name to be displayed, "memory_bytes",
        "memory_is": "free" or "total"} (see `machine.device.Listed`), and "torch", the version of PyTorch.
    """
    return Outcome({"devices": [dataclasses.asdict(device) for device in list_devices()], "torch": torch.__version__})


def run_repair(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Refine a transform where it is wrong.

    Args:
        parameters: As for `run_register`, and "field" (grid); "region" (grid) unless there are landmarks.
        arrays: "fixed", "moving" (k, j, i), "field" (k, j, i, 3) mm, LPS, fixed -> moving, and "region" (k, j, i),
            nonzero inside.
        control: Receives the progress and the log, and may request to stop.

    Returns:
        As `run_register`.

    Raises:
        InputError: As `repair.repair`.
        Cancelled: The program has requested "abort".
    """
    volume, points = _readers(parameters, arrays)
    result = repair(
        volume("fixed"),
        volume("moving"),
        DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"])),
        region=volume("region"),
        fixed_landmarks=points("fixed_landmarks"),
        moving_landmarks=points("moving_landmarks"),
        settings=Settings(**parameters["settings"]),
        on_progress=control.on_progress,
        cancel=control.cancel,
    )
    return outcome_of(result, parameters, control)


def run_html(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Make the page about a registration.

    Args:
        parameters: "fixed", "moving" and "field" (grids, as `Geometry.to_dict` returns them); optionally "report", the
            report of the registration (without it the figures are measured), "confidence" (grid), "worst" (as the job
            "maps" lists the places) and "names" ([fixed, moving], to be printed on the page).
        arrays: "fixed" and "moving" (k, j, i), "field" (k, j, i, 3), LPS mm, fixed -> moving, on any grid; optionally
            "confidence" (expected error, (k, j, i) mm).
        control: May request to stop.

    Returns:
        A report with "html", the page.

    Raises:
        InputError: A scan is constant or not finite.
        Cancelled: The program has requested "abort".
    """
    fixed, moving, confidence = (
        Volume(arrays[name], Geometry.from_dict(parameters[name])) if name in arrays else None
        for name in ("fixed", "moving", "confidence")
    )
    field = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"]))
    control.check()
    report = parameters.get("report") or measured_report(fixed, moving, field, confidence=confidence)
    control.check()
    page = build_html(
        fixed,
        moving,
        field,
        report,
        confidence=confidence,
        worst=parameters.get("worst"),
        names=parameters.get("names"),
    )
    return Outcome({"html": page})


JOBS = {
    "register": run_register,
    "inspect": run_inspect,
    "devices": run_devices,
    "repair": run_repair,
    "html": run_html,
}
