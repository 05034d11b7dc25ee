"""The pipeline of a registration: prepare, align linearly, describe, propose, refine, finish.

>>> from GenRegLogic.register import register
>>> from GenRegLogic.space.volume import Volume
>>> result = register(Volume.from_file("fixed.nii.gz"), Volume.from_file("moving.nii.gz"))
>>> result.report["verdict"]["status"]
'trustworthy'
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch

from .errors import Detail, InputError, ResourceError, shown_value
from .files.points import check_landmarks
from .given import Scan, as_volume
from .guidance.landmarks import LandmarkPull, rigid_fit
from .guidance.masks import check_mask
from .guidance.rigid import RigidBodies, check_rigid, rigid_field
from .guidance.sliding import SlidingRegions, check_regions
from .machine.device import choose_device, device_name, free_memory, plan_memory, tune_allocator
from .machine.estimate import Sizes
from .machine.memory import is_out_of_memory, return_kept_memory
from .machine.waiting import possible_threads, sleeping_threads
from .network.apply import SHA256, SHOWN_DIGITS, Learned, shipped
from .progress import Monitor, Progress, listening
from .quality.confidence import expected_error_of
from .quality.doubts import pose_doubt, rivals_doubt, sides_doubt
from .quality.findings import Findings, body_points, make_report
from .quality.report import record_stages
from .quality.signs import gather
from .registration import Registration
from .settings import DEFAULT_ITERATIONS, Settings
from .space.field import AffineTransform, DisplacementField, Transform, as_points
from .space.fieldgrid import field_grid
from .space.geometry import Geometry
from .space.grid import Image
from .space.inverse import fit_affine
from .space.registrable import check_registrable
from .space.split import with_linear
from .space.volume import Volume
from .stages.alignment import FREEDOM, SEARCHING, align
from .stages.finish import full_field
from .stages.hypotheses import Hypothesis, Trial, choose
from .stages.linear import Candidate, LinearLevel
from .stages.prepare import Prepared, part_of, prepare, working_grid
from .stages.propose import InitialField, Proposal, Proposer, coarsely_sampled, identity, search_proposal
from .stages.refine import Refiner
from .stages.schedule import (
    BOTH,
    DESCRIPTOR,
    INTENSITY,
    Level,
    contrast_agreement,
    measure_for,
    schedule,
    weight_beside,
)

__all__ = ["Progress", "Registration", "register"]

FEW_VOXELS = 200_000
"""Scans of at most so many voxels are registered by one thread. On a hippocampus of 62,000 a second one saves at most a
tenth of the time, on a free machine, for two fifths more CPU time (`scripts/cpu_speed`)."""

RETRY_SHARE = 0.25
"""Share of the working voxels that the second attempt gets after a run has run out of memory."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Inputs:
    """The checked inputs of one run."""

    fixed: Volume
    moving: Volume
    settings: Settings
    initial: Transform | None
    fixed_mask: Volume | None
    moving_mask: Volume | None
    fixed_landmarks: np.ndarray | None
    moving_landmarks: np.ndarray | None
    keep_rigid: Volume | None = None
    regions: Volume | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        volumes = (self.fixed, self.moving, self.fixed_mask, self.moving_mask, self.keep_rigid, self.regions)
        return tuple(sentence for volume in volumes if volume is not None for sentence in volume.warnings)


def register(
    fixed: Scan,
    moving: Scan,
    settings: Settings | None = None,
    *,
    initial: Transform | None = None,
    fixed_mask: Scan | None = None,
    moving_mask: Scan | None = None,
    fixed_landmarks: np.ndarray | None = None,
    moving_landmarks: np.ndarray | None = None,
    keep_rigid: Scan | None = None,
    regions: Scan | None = None,
    on_progress: Callable[[Progress], None] | str | None = None,
    cancel: Callable[[], str | None] | None = None,
) -> Registration:
    """Register the moving scan to the fixed one.

    Args:
        fixed: The scan that stays: a `Volume`, a path (a file or the folder of a DICOM series), a SimpleITK image or a
            nibabel image; the masks, `keep_rigid` and `regions` likewise.
        moving: The scan that is deformed onto it.
        settings: The options of the run; the defaults are meant for every pair.
        initial: A transform to start from, fixed -> moving, LPS mm.
        fixed_mask: Nonzero where the fixed scan counts, on any grid.
        moving_mask: The same for the moving scan.
        fixed_landmarks: (n, 3) LPS mm, n >= 3. The field is pulled softly so that they reach `moving_landmarks`.
        moving_landmarks: (n, 3) LPS mm; row by row the same anatomical places as `fixed_landmarks`.
        keep_rigid: A label map of the fixed scan, on any grid: each label but 0 is a body that moves rigidly, with a
            rotation and a translation of its own, and keeps its volume.
        regions: A label map of the fixed scan, on any grid: each value, 0 among them, is a region that may slide along
            the others. Without it, sliding is looked for in the scans themselves.
        on_progress: Called with `Progress` in this thread; or "bar", which shows a progress bar.
        cancel: Called often; returns None (continue), "keep" (stop, keep the best so far) or "abort".

    Returns:
        The field fixed -> moving on the fixed scan's grid (or a coarser one over a very large scan, see
        `Settings.transform_spacing_mm`), the linear part, the expected error and the report.

    Raises:
        InputError: An input is unusable; the sentence says what to do.
        ResourceError: Not enough memory for even the smallest plan.
        Cancelled: `cancel` returned "abort".
    """
    settings = Settings() if settings is None else settings
    _check_types(settings, initial)
    inputs = _check(
        _Inputs(
            as_volume(fixed, "fixed"),
            as_volume(moving, "moving"),
            settings,
            initial,
            as_volume(fixed_mask, "fixed_mask", optional=True),
            as_volume(moving_mask, "moving_mask", optional=True),
            fixed_landmarks,
            moving_landmarks,
            as_volume(keep_rigid, "keep_rigid", optional=True),
            as_volume(regions, "regions", optional=True),
        )
    )
    device = choose_device(settings.device)
    voxels = max(inputs.fixed.array.size, inputs.moving.array.size)
    with listening(on_progress) as listener, computing(settings, most_threads=1 if voxels <= FEW_VOXELS else None):
        return _within_memory(inputs, device, listener, cancel)


def _check_types(settings: Settings, initial: Transform | None) -> None:
    if not isinstance(settings, Settings):
        raise InputError(f"settings is {shown_value(settings)}; give a Settings.")
    if initial is not None and not (callable(initial) and hasattr(initial, "displacements")):
        raise InputError(f"initial is {shown_value(initial)}; give a transform, such as read_transform's.")


@contextlib.contextmanager
def computing(settings: Settings, most_threads: int | None = None) -> Iterator[None]:
    """Run without autograd, in single precision, with the threads of the settings; the caller's own are restored.

    Args:
        settings: Those of the run.
        most_threads: That are of use.
    """
    tune_allocator()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    wanted = min(settings.threads or threads, most_threads or sys.maxsize)
    if wanted != threads:
        torch.set_num_threads(possible_threads(wanted))
    torch.set_default_dtype(torch.float32)
    try:
        # creating the network draws random numbers before its weights are loaded: the caller's generator is restored
        with torch.inference_mode(), torch.random.fork_rng(devices=[]), sleeping_threads():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


def _check(inputs: _Inputs) -> _Inputs:
    fixed, moving = (
        check_registrable(volume, role) for volume, role in ((inputs.fixed, "fixed"), (inputs.moving, "moving"))
    )
    landmarks = inputs.fixed_landmarks, inputs.moving_landmarks
    if (landmarks[0] is None) != (landmarks[1] is None):
        raise InputError("Landmarks of both scans are needed; give the fixed and the moving ones, or none.")
    if landmarks[0] is not None:
        landmarks = tuple(as_points(points) for points in landmarks)
        check_landmarks(*landmarks, fixed.geometry, moving.geometry)
    masks = [
        None if mask is None else check_mask(mask, image, role)
        for mask, image, role in ((inputs.fixed_mask, fixed, "fixed"), (inputs.moving_mask, moving, "moving"))
    ]
    return dataclasses.replace(
        inputs,
        fixed=fixed,
        moving=moving,
        fixed_mask=masks[0],
        moving_mask=masks[1],
        fixed_landmarks=landmarks[0],
        moving_landmarks=landmarks[1],
        keep_rigid=None if inputs.keep_rigid is None else check_rigid(inputs.keep_rigid, fixed),
        regions=None if inputs.regions is None else check_regions(inputs.regions, fixed),
    )


def _within_memory(inputs: _Inputs, device: torch.device, on_progress, cancel) -> Registration:
    """Run with the plan that fits the memory; if memory runs out nevertheless, once more with a smaller plan."""
    grids = inputs.fixed.geometry, inputs.moving.geometry
    sizes = Sizes.of(*grids, inputs.settings, every_voxel=inputs.keep_rigid is not None)
    try:
        plan = plan_memory(sizes, _wanted_voxels(inputs), free_memory(device))
    except ResourceError:
        if inputs.settings.device != "auto" or device.type == "cpu":
            raise
        device = torch.device("cpu")  # the GPU is too small for these scans
        plan = plan_memory(sizes, _wanted_voxels(inputs), free_memory(device))
    try:
        return _run(inputs, device, plan.max_voxels, list(plan.notes), Monitor(device, on_progress, cancel))
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
    notes = ["Memory ran out on the first try, so a coarser working grid was used; more memory gives finer detail."]
    try:
        return _run(
            inputs, device, max(int(plan.max_voxels * RETRY_SHARE), 1), notes, Monitor(device, on_progress, cancel)
        )
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "The memory is too small even for a coarse registration of these scans; close other "
            "programs, crop the scans or resample them to larger voxels."
        ) from None


def _wanted_voxels(inputs: _Inputs) -> int:
    """Voxels of the finest working grid that accuracy calls for, whatever the memory."""
    geometry = inputs.fixed.geometry
    if inputs.settings.resolution_mm is None:
        return inputs.fixed.array.size
    resolution = geometry.possible_spacing(inputs.settings.resolution_mm)
    return int(min(np.prod(geometry.extent_mm / resolution), 2**60)) + 1


def _run(inputs: _Inputs, device: torch.device, max_voxels: int, notes: list[str], monitor: Monitor) -> Registration:
    settings = inputs.settings
    learned = _network(settings, device)  # unusable weights are refused before anything is computed
    with monitor.stage("prepare"):
        fixed = prepare(inputs.fixed, mask=inputs.fixed_mask, device=device)
        monitor.tell(0.5)
        moving = prepare(inputs.moving, mask=inputs.moving_mask, device=device, role="moving")
        fixed, moving, parts = _parts(fixed, moving)
        notes = [*notes, *parts]
    with monitor.stage("linear"):
        freedom = FREEDOM[settings.linear_kind]
        linear, level = align(
            fixed, moving, init=settings.init, freedom=freedom, given=_given_starts(inputs), tell=monitor.tell
        )
        _check_overlap(level, linear, settings.init)
    spacing, sentences = _finest_spacing(fixed, moving, settings, max_voxels)
    with monitor.stage("propose"):
        improvers = [learned.improve] if settings.proposes and learned is not None else []
        regions = None if inputs.regions is None else SlidingRegions(inputs.regions, device)
        trial = _trial(inputs, fixed, moving, spacing, regions)
        proposers = _proposers(inputs, monitor)
        known = settings.init not in SEARCHING or inputs.initial is not None
        chosen = choose(linear, level, proposers, improvers, trial, rivals=not known, pulse=lambda: monitor.tell(0.0))
        linear, level = chosen.linear, chosen.level
        inputs = _with_doubts(inputs, fixed, moving, chosen)
    measure, levels, compared = _levels(settings, fixed, chosen, spacing)
    bodies = None if inputs.keep_rigid is None else RigidBodies(inputs.keep_rigid, linear.matrix, device)
    refiner = _refiner(inputs, fixed, moving, chosen, bodies, learned, regions)
    with monitor.stage("refine"):
        run = refiner.run if settings.one_way else refiner.run_both_ways
        field = run(levels, chosen.proposal.field, monitor, lambda u: with_linear(u, linear.matrix))
    return_kept_memory()
    with monitor.stage("finish"):
        forward, repaired, given_up = _finished(inputs, field, linear.matrix, bodies, monitor.within(0.0, 0.3))
        monitor.tell(0.3)
        confidence = expected_error_of(gather(fixed, moving, linear.matrix, field, settings, monitor, refiner.apart))
        monitor.tell(0.7)
        inverse_grid = _result_grid(inputs, inputs.moving.geometry)
        findings = Findings(
            linear=linear,
            proposal=chosen.proposal,
            proposals=chosen.proposals,
            measure=BOTH if BOTH in refiner.compared else measure,
            history=refiner.history,
            repaired=repaired,
            stopped_early=monitor.keep,
            given_up=given_up,
            notes=[*notes, *sentences, *chosen.notes, *compared],
            level=level,
            field=field,
            confidence=confidence,
            inverse_grid=inverse_grid,
        )
        report = make_report(inputs, fixed, forward, findings, device_name(device))
        monitor.tell(1.0)
    record_stages(report, monitor.stages)
    if learned is not None:
        report["versions"]["network"] = SHA256[:SHOWN_DIGITS]
    body, affine = body_points(fixed, inputs.fixed.geometry), AffineTransform(linear.matrix)
    return Registration(
        forward, affine, confidence, report, inputs.moving, body, _fixed=inputs.fixed, _inverse_grid=inverse_grid
    )


def _parts(fixed: Prepared, moving: Prepared) -> tuple[Prepared, Prepared, list[str]]:
    """The scans, of which one that is cut out of what the other shows whole gets a mask; and what is to be said."""
    parts = part_of(fixed, moving), part_of(moving, fixed)
    notes = [
        f"The body in the {role} image is cut out of its surroundings, and the other image shows more: only its inner "
        "part was compared."
        for role, part in zip(("fixed", "moving"), parts)
        if part is not None
    ]
    return parts[0] or fixed, parts[1] or moving, notes


def _with_doubts(inputs: _Inputs, fixed: Prepared, moving: Prepared, chosen: Hypothesis) -> _Inputs:
    """The inputs, with what the images say of the pose, of the place, and of left and right."""
    warnings, linear = (*inputs.fixed.warnings, *inputs.moving.warnings), chosen.linear
    asked = inputs.settings.init in SEARCHING
    doubts = pose_doubt(linear), rivals_doubt(chosen), sides_doubt(fixed, moving, linear, warnings, asked=asked)
    said = tuple(doubt for doubt in doubts if doubt is not None)
    scan = dataclasses.replace(inputs.moving, warnings=(*inputs.moving.warnings, *said))
    return dataclasses.replace(inputs, moving=scan)


def _trial(
    inputs: _Inputs, fixed: Prepared, moving: Prepared, spacing: float, regions: SlidingRegions | None
) -> Trial | None:
    """What hypotheses are compared by; None where nothing is left open, or the user has said what to do."""
    settings = inputs.settings
    asked = not settings.linear and settings.coarse_iterations > 0
    if not asked or inputs.fixed_landmarks is not None or inputs.keep_rigid is not None:
        return None
    return Trial(fixed, moving, schedule(DESCRIPTOR, spacing, DEFAULT_ITERATIONS), settings.smoothness, regions)


def _levels(
    settings: Settings, fixed: Prepared, chosen: Hypothesis, spacing: float
) -> tuple[str, list[Level], list[str]]:
    """What is compared, the levels of the refinement (none for a linear alignment), and what is to be said of them."""
    agreement = contrast_agreement(chosen.level, fixed, chosen.linear.matrix, chosen.field_on_level())
    measure = measure_for(agreement)
    if settings.linear:
        return measure, [], []
    descriptor = BOTH if measure == DESCRIPTOR and settings.describes else DESCRIPTOR
    beside = weight_beside(agreement)
    levels = schedule(measure, spacing, settings.coarse_iterations, descriptor=descriptor, beside=beside)
    sentence = "The contrasts of the scans agree only in part, so edges were compared beside the intensities."
    detail = Detail(f"Agreement of the contrasts: {agreement:.2f}.")
    sentences = [sentence, detail] if measure == INTENSITY and beside > 0 else []
    # the coarsest level would lose the jumps that the search found
    return measure, levels[1:] if chosen.sliding else levels, sentences


def _refiner(
    inputs: _Inputs,
    fixed: Prepared,
    moving: Prepared,
    chosen: Hypothesis,
    bodies: RigidBodies | None,
    learned: Learned | None,
    regions: SlidingRegions | None,
) -> Refiner:
    settings, linear = inputs.settings, chosen.linear.matrix
    pull = None
    if inputs.fixed_landmarks is not None and not settings.linear:
        pull = LandmarkPull(inputs.fixed_landmarks, inputs.moving_landmarks, linear)
    return Refiner(
        fixed,
        moving,
        linear,
        smoothness=settings.smoothness,
        landmarks=pull,
        constraint=bodies,
        describer=learned,
        sliding=chosen.sliding,
        regions=regions,
    )


def _finished(
    inputs: _Inputs, field: Image, linear: np.ndarray, bodies: RigidBodies | None, monitor: Monitor
) -> tuple[DisplacementField, int, str | None]:
    """The field without folds on the grid of the result, how many voxels folded, and why it was given up."""
    given_up: list[str] = []
    grid = _result_grid(inputs, inputs.fixed.geometry)
    hooks = {"tell": monitor.tell, "warn": given_up.append}
    if bodies is None:
        forward, repaired = full_field(field, linear, grid, **hooks)
    else:
        forward, repaired = rigid_field(field, linear, bodies, grid, **hooks)
    return forward, repaired, given_up[0] if given_up else None


def _result_grid(inputs: _Inputs, scan: Geometry) -> Geometry:
    """The grid of the resulting field over a scan; bodies that are kept rigid have a vector at each of their voxels."""
    return field_grid(scan, inputs.settings.transform_spacing_mm, limited=inputs.keep_rigid is None)


def _given_starts(inputs: _Inputs) -> list[tuple[str, np.ndarray]]:
    given = []
    if inputs.initial is not None:
        linear = inputs.initial
        if not isinstance(linear, AffineTransform):
            linear = fit_affine(coarsely_sampled(inputs.initial, inputs.fixed.geometry))
        if np.linalg.det(linear.matrix[:3, :3]) <= 0:
            raise InputError("The initial transform mirrors or flattens space; give one that does not.")
        given.append(("initial", linear.matrix))
    if inputs.fixed_landmarks is not None and inputs.settings.init != "none":
        given.append(("landmarks", rigid_fit(inputs.fixed_landmarks, inputs.moving_landmarks)))
    return given


def _network(settings: Settings, device: torch.device) -> Learned | None:
    """The network, or None where the settings give it nothing to do."""
    if settings.linear or not (settings.proposes or (settings.describes and settings.coarse_iterations)):
        return None
    return shipped(device)


def _proposers(inputs: _Inputs, monitor: Monitor) -> list[Proposer]:
    """Functions that propose a field, the simplest first; for a linear alignment the identity alone."""
    if inputs.settings.linear:
        return [identity]
    makers: list[Proposer] = [identity]
    if inputs.initial is not None and not isinstance(inputs.initial, AffineTransform):
        makers.append(InitialField(inputs.initial, inputs.fixed.geometry))
    makers.append(search_proposal)

    def told(number: int, maker: Proposer) -> Proposer:
        def make(level: LinearLevel, linear: np.ndarray) -> Proposal:
            monitor.tell(number / len(makers))
            return maker(level, linear)

        return make

    return [told(number, maker) for number, maker in enumerate(makers)]


def _check_overlap(level: LinearLevel, linear: Candidate, init: str) -> None:
    _, weight = level.warped(linear.matrix)
    if float(weight.sum()) < 1:
        advice = "" if init == "auto" else "use --init auto, or "
        raise InputError(
            f"The two scans do not overlap after the initialization; {advice}give an initial transform, or landmarks, "
            "that bring them together."
        )


def _finest_spacing(fixed: Prepared, moving: Prepared, settings: Settings, max_voxels: int) -> tuple[float, list[str]]:
    """The finest voxel size of the refinement, mm, and a note where the plan does not allow the requested one.

    Without a requested resolution it is the mean spacing of the coarser scan.
    """
    wanted = settings.resolution_mm
    if wanted is None:
        wanted = spacing = max(p.image.geometry.mean_spacing for p in (fixed, moving))
    else:
        spacing = fixed.image.geometry.possible_spacing(wanted)
    while np.prod(working_grid(fixed, spacing).size, dtype=float) > max_voxels:
        spacing *= 1.05
    if settings.resolution_mm is None or spacing == wanted:
        return spacing, []
    reason = "too many" if wanted < spacing else "too few"
    return spacing, [f"The finest voxel size worked at is {spacing:.2f} mm; {wanted:g} mm would be {reason} voxels."]
