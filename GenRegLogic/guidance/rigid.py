"""Keeps chosen structures rigid: bone, an implant, a tumor that must not change its volume.

Every label is a body with its own rotation and translation, which are found during the refinement: after each step the
field inside the label is replaced by the rigid motion that fits it best (Kabsch 1976), with a smooth transition to the
free field around it. Between two bodies their motions are blended by distance, after Little, Hill, Hawkes,
"Deformations incorporating rigid structures" (Computer Vision and Image Understanding 1997).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..space.field import DisplacementField
from ..space.geometry import Geometry
from ..space.grid import Image, canonical_array, canonical_geometry, resample
from ..space.split import with_linear
from ..space.volume import Volume
from ..stages.finish import SAFE_DETERMINANT, bad_voxels, check_orientation, smoothed_near
from .masks import on_grid_of

__all__ = ["RigidBodies", "bounding_box", "check_rigid", "rigid_field"]

MAX_BODIES = 200
"""Largest number of bodies; with more, the volume is probably an image and not a label map."""

RIM_VOXELS = 3.0
"""Least width of the transition around a body, voxels."""

RIM_PER_CHANGE = 4.0
"""Width of the transition in multiples of the field's change at the body: the slope then stays below 1.5 / 4."""

MAX_RIM_VOXELS = 24
"""Largest width of a transition, voxels; a wider one costs more without benefit."""

TIGHTNESS = 0.1
"""Spread, in voxels, below which a body is too small to determine its rotation and takes that of the linear part."""

NEAREST_MM = 1e-4
"""Least distance from a body in the blending weights, mm: it keeps them finite on the body itself."""

FIRST_ROUNDS, LAST_ROUNDS, MAX_ROUNDS = 25, 60, 121
"""Rounds of the fold repair. Up to the first number only the surroundings of a fold change, up to the second the whole
field approaches one rigid motion slowly, and up to the third quickly; then the deformation is given up."""

GIVEN_UP = (
    "The deformation could not be kept rigid in the mask without folding, so the result is one rigid motion of the "
    "whole scan; leave out the mask or some of its structures."
)

TOGETHER, WEAKENING = 0.5, 0.8
"""How far the motions of colliding bodies approach their common motion in a round (0 to 1), and the factor by which the
deformation is multiplied in each round between `FIRST_ROUNDS` and `LAST_ROUNDS`."""


def check_rigid(labels: Volume, image: Volume) -> Volume:
    """The labels of rigid bodies on the grid of the fixed scan.

    Args:
        labels: Whole numbers on any grid; each value except 0 is one body.
        image: The fixed scan.

    Returns:
        int32 volume on the scan's grid; labels of another geometry are resampled, and the warnings mention it.

    Raises:
        InputError: The labels are empty, not whole numbers, too large, more than `MAX_BODIES`, or outside the scan.
    """
    bodies = on_grid_of(image, labels, "The mask to keep rigid")
    count = int((np.unique(bodies.array) != 0).sum())
    if count > MAX_BODIES:
        raise InputError(
            f"The mask to keep rigid holds {count} different values; it must be a label map with "
            f"one value for each rigid body, {MAX_BODIES} at most."
        )
    return bodies


@dataclasses.dataclass(frozen=True, eq=False)
class _Body:
    """One label on one grid.

    Attributes:
        label: Value of the label.
        box: Slices (z, y, x) around the body, with room for the widest transition.
        zone: bool, in the box: where the field is the body's motion alone.
        distance: Distance from the zone, mm, in the box.
        fit: (n,) flat indices of the voxels to which the motion is fitted.
        weight: (n,) weights of these voxels.
        places: (3, n) positions of these voxels, mm from the grid's first voxel along its axes.
    """

    label: int
    box: tuple[slice, slice, slice]
    zone: torch.Tensor
    distance: torch.Tensor
    fit: torch.Tensor
    weight: torch.Tensor
    places: torch.Tensor


Motion = tuple[torch.Tensor, torch.Tensor]
"""B (3, 3) and b (3,) of a displacement ``u = B p + b`` before the linear part for which ``A (x + R u)`` is rigid; mm
along the grid's axes, p from its first voxel."""


class RigidGrid:
    """The bodies on one grid.

    Args:
        shares: Label -> ``(D, H, W)`` float, the share of each voxel that belongs to the body.
        geometry: The grid, along the fixed scan's canonical axes.
        linear: (4, 4), LPS mm, fixed -> moving, applied after the displacement.
        device: Device of the tensors.
    """

    def __init__(self, shares: dict[int, np.ndarray], geometry: Geometry, linear: np.ndarray, device: torch.device):
        self.geometry, self.device = geometry, device
        self._matrix = linear[:3, :3] @ geometry.direction  # M: y = M (p + u) + constant
        self._spacing = np.array(geometry.spacing)
        left, _, right = np.linalg.svd(linear[:3, :3])
        self._turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
        inside = {label: share > min(0.5, 0.5 * float(share.max())) for label, share in shares.items() if share.any()}
        taken = np.zeros(geometry.shape, np.uint8)
        zones = {label: _dilated(where) for label, where in inside.items()}
        for box, zone in zones.values():
            taken[box] += zone
        claimed = np.zeros(geometry.shape, bool)
        for where in inside.values():
            claimed |= where
        self.bodies = [
            self._body(label, shares[label], where, *zones[label], taken, claimed) for label, where in inside.items()
        ]
        self._usual = None

    def _body(self, label, share, inside, box, zone, taken, claimed) -> _Body:
        """A body with its zone.

        The zone is one voxel wider than the body, so that differences across its surface are rigid too, except where it
        touches another body.
        """
        own = np.zeros(self.geometry.shape, bool)
        own[box] = zone & (taken[box] == 1) & ~claimed[box]
        own |= inside
        room = tuple(
            slice(max(s.start - MAX_RIM_VOXELS, 0), min(s.stop + MAX_RIM_VOXELS, n)) for s, n in zip(box, own.shape)
        )
        own = own[room]
        image = sitk.GetImageFromArray(own.astype(np.uint8))
        image.SetSpacing(self.geometry.spacing)
        distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True))
        fit = np.flatnonzero(share * inside)
        weight = share.reshape(-1)[fit].astype(np.float32)
        z, y, x = np.unravel_index(fit, share.shape)
        places = (np.stack([x, y, z]) * self._spacing[:, None]).astype(np.float32)
        tensors = [
            torch.from_numpy(a).to(self.device)
            for a in (own, np.maximum(distance, 0).astype(np.float32), fit, weight, places)
        ]
        return _Body(label, room, *tensors)

    def motions(self, u: torch.Tensor) -> list[Motion]:
        """Per body the rigid motion that fits the field ``(3, D, H, W)`` mm best inside it."""
        return [self._fit([body], u) for body in self.bodies]

    def _fit(self, bodies: list[_Body], u: torch.Tensor) -> Motion:
        flat = u.reshape(3, -1)
        moved = torch.cat([flat[:, body.fit] for body in bodies], dim=1)
        places = torch.cat([body.places for body in bodies], dim=1)
        weight = torch.cat([body.weight for body in bodies])
        total = float(weight.sum())
        middle, mean = ((x * weight).sum(dim=1, keepdim=True) / total for x in (places, moved))
        p = places - middle
        q = (p + (moved - mean)) * weight
        m, r = self._matrix, self.geometry.direction
        covariance = (
            m @ (q @ p.T).double().cpu().numpy() @ r.T
            if self.device.type != "mps"
            else m @ (q @ p.T).cpu().numpy().astype(float) @ r.T
        )
        covariance += self._turn * total * (TIGHTNESS * self._spacing.min()) ** 2
        left, _, right = np.linalg.svd(covariance)
        rotation = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
        slope = np.linalg.inv(m) @ rotation @ r - np.eye(3)
        shift = mean[:, 0].cpu().numpy().astype(float) - slope @ middle[:, 0].cpu().numpy().astype(float)
        return torch.from_numpy(slope), torch.from_numpy(shift)

    def _moved(self, motion: Motion, box: tuple[slice, slice, slice]) -> torch.Tensor:
        """The motion's displacement in a box ``(3, d, h, w)``, mm."""
        slope, shift = motion
        out = shift.reshape(3, 1, 1, 1)
        for column, cut in enumerate(reversed(box)):
            line = torch.arange(cut.start, cut.stop, dtype=torch.float64) * self._spacing[column]
            shape = [1, 1, 1, 1]
            shape[3 - column] = len(line)
            out = out + slope[:, column].reshape(3, 1, 1, 1) * line.reshape(shape)
        return out.float().to(self.device)

    def hold(self, u: torch.Tensor) -> torch.Tensor:
        """The field ``(3, D, H, W)`` mm with each body's motion inside it and a transition of the least width."""
        if self._usual is None:
            self._usual = self._weights([RIM_VOXELS * float(self._spacing.max())] * len(self.bodies))
        return self._blend(u, self.motions(u), self._usual)

    def settle(self, u: torch.Tensor, motions: list[Motion] | None = None, least_mm: float = 0.0) -> torch.Tensor:
        """As `hold`, with transitions wide enough for a field that is far from rigid in the bodies.

        Args:
            u: ``(3, D, H, W)`` mm.
            motions: Of all bodies; by default those that fit `u` best.
            least_mm: Least width of the transitions.
        """
        motions = self.motions(u) if motions is None else motions
        rims = []
        for body, motion in zip(self.bodies, motions):
            change = (self._moved(motion, body.box) - u[(slice(None), *body.box)]).norm(dim=0)[body.zone]
            rims.append(max(RIM_PER_CHANGE * float(change.max()), RIM_VOXELS * float(self._spacing.max()), least_mm))
        return self._blend(u, motions, self._weights(rims))

    def _weights(self, rims: list[float]) -> list[torch.Tensor]:
        """Weight of each body's motion in its box: 1 in its zone, 0 in other zones and beyond the transition (mm)."""
        total = torch.zeros(self.geometry.shape, device=self.device)
        parts = []
        for body, rim in zip(self.bodies, rims):
            rim = min(rim, MAX_RIM_VOXELS * float(self._spacing.min()))
            t = (1 - body.distance / rim).clamp_(min=0)
            fall = t * t * (3 - 2 * t)
            near = fall / body.distance.clamp(min=NEAREST_MM).square()
            total[body.box] += near
            parts.append((fall, near))
        weights = []
        for body, (fall, near) in zip(self.bodies, parts):
            weight = fall * near / total[body.box].clamp(min=1e-30)
            weight[body.zone] = 1.0
            for other in self.bodies:
                if other is not body:
                    _clear(weight, body.box, other)
            weights.append(weight)
        return weights

    def _blend(self, u: torch.Tensor, motions: list[Motion], weights: list[torch.Tensor]) -> torch.Tensor:
        out = u.clone()
        for body, motion, weight in zip(self.bodies, motions, weights):
            here = (slice(None), *body.box)
            out[here] += weight * (self._moved(motion, body.box) - u[here])
        return self.fixed(out, motions)

    def fixed(self, u: torch.Tensor, motions: list[Motion]) -> torch.Tensor:
        """The field, changed in place: each body's motion inside its zone, and everywhere else as before."""
        for body, motion in zip(self.bodies, motions):
            here = u[(slice(None), *body.box)]
            here.copy_(torch.where(body.zone, self._moved(motion, body.box), here))
        return u

    def near(self, where: torch.Tensor) -> list[int]:
        """Indices of the bodies within a few voxels of the places marked in ``(D, H, W)`` bool."""
        reach = (RIM_VOXELS + 1) * float(self._spacing.max())
        return [n for n, body in enumerate(self.bodies) if bool((where[body.box] & (body.distance <= reach)).any())]

    def together(self, motions: list[Motion], chosen: list[int], share: float) -> list[Motion]:
        """Move the motions of some bodies toward the one rigid motion that fits all of them best.

        Each body starts from its own motion alone, so the order of the bodies does not matter.

        Args:
            motions: The motions of all bodies.
            chosen: Indices of the bodies that collide.
            share: From 0 (unchanged) to 1 (one common motion).

        Returns:
            The motions of all bodies; those of bodies that were not chosen are unchanged.
        """
        u = torch.zeros((3, *self.geometry.shape), device=self.device)
        self.fixed(u, motions)
        common = self._fit([self.bodies[n] for n in chosen], u)
        out = list(motions)
        for n in chosen:
            here = u[(slice(None), *self.bodies[n].box)]
            before = here.clone()
            here += share * (self._moved(common, self.bodies[n].box) - here)
            out[n] = self._fit([self.bodies[n]], u)
            here.copy_(before)  # boxes overlap: the next body must not find this one's change
        return out

    def all_together(self, u: torch.Tensor, share: float) -> torch.Tensor:
        """The field moved toward one rigid motion of the whole grid, which has no folds, by a share from 0 to 1."""
        whole = self._moved(self._fit(self.bodies, u), tuple(slice(0, n) for n in self.geometry.shape))
        return u + share * (whole - u)


class RigidBodies:
    """Rigid bodies as a constraint of the refinement, on the grid of each of its levels.

    Args:
        labels: As `check_rigid` returns them.
        linear: (4, 4), LPS mm, fixed -> moving, applied after the displacement.
        device: Device of the tensors.
    """

    def __init__(self, labels: Volume, linear: np.ndarray, device: torch.device):
        self.labels, self.linear, self.device = labels, linear, device
        self._geometry = canonical_geometry(labels.geometry)
        self._array = np.ascontiguousarray(canonical_array(labels.array, labels.geometry))
        self.values = [int(v) for v in np.unique(self._array) if v != 0]
        self._grids: tuple[Geometry, RigidGrid] | None = None

    def enter(self, field: Image, geometry: Geometry) -> torch.Tensor:
        """The field at the beginning of a level, ``(3, D, H, W)`` mm on the level's grid, rigid in the bodies."""
        return self.on(geometry).settle(resample(field, geometry, smooth=False).tensor)

    def keep(self, u: torch.Tensor, before: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The field after a step, ``(3, D, H, W)`` mm, rigid in the bodies."""
        return self.on(geometry).hold(u)

    def on(self, geometry: Geometry) -> RigidGrid:
        """The bodies on a grid along the fixed scan's canonical axes; the grid that was asked for last is cached."""
        if self._grids is None or self._grids[0] is not geometry:
            self._grids = geometry, RigidGrid(self._shares(geometry), geometry, self.linear, self.device)
        return self._grids[1]

    def _shares(self, geometry: Geometry) -> dict[int, np.ndarray]:
        if geometry.is_close(self._geometry, 1e-4):
            return {value: (self._array == value).astype(np.float32) for value in self.values}
        shares = {}
        for value in self.values:
            own = Image(torch.from_numpy((self._array == value).astype(np.float32)), self._geometry)
            share = resample(own, geometry).tensor.clamp_(min=0).numpy()
            shares[value] = np.where(share > 0.01 * share.max(), share, 0) if share.max() > 0 else share
        return shares


def rigid_field(
    field: Image,
    linear: np.ndarray,
    bodies: RigidBodies,
    geometry: Geometry | None = None,
    *,
    tell: Callable[[float], None] = lambda fraction: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> tuple[DisplacementField, int]:
    """The mapping on a grid over the fixed scan, rigid in the bodies, rounded as in files, without folds.

    It is `stages.finish.full_field` for a field with rigid bodies, with the same arguments, results and errors. Where
    bodies collide, their motions are changed toward a common one until nothing folds. A deformation that still folds
    after `MAX_ROUNDS` is replaced by one rigid motion of the whole scan, which keeps every body rigid.

    Args:
        field, linear, tell, warn: As in `full_field`.
        bodies: The rigid bodies; their labels lie on the fixed scan's grid.
        geometry: Grid of the result, with the axes of the fixed scan's; None is that grid itself.

    Returns:
        As `full_field`.
    """
    safe = SAFE_DETERMINANT * check_orientation(linear)
    geometry = bodies.labels.geometry if geometry is None else geometry
    canonical = canonical_geometry(geometry)
    grid = bodies.on(canonical)
    u = resample(field, canonical, smooth=False).tensor
    motions = grid.motions(u)
    u = grid.settle(u, motions, least_mm=1.5 * max(field.geometry.spacing))
    count = 0
    for number in range(MAX_ROUNDS):
        forward = with_linear(Image(u, canonical), linear, geometry).rounded()
        bad = canonical_array(bad_voxels(forward, safe if number else 0.0), geometry)
        if not bad.any():
            return forward, count
        tell(number / MAX_ROUNDS)
        count = count or int(bad.sum())
        bad = torch.from_numpy(np.ascontiguousarray(bad)).to(u.device)
        if number >= FIRST_ROUNDS:
            u = grid.all_together(u, 1 - WEAKENING if number < LAST_ROUNDS else 0.5)
            motions = grid.motions(u)
        else:
            near = grid.near(bad)
            if len(near) > 1:
                motions = grid.together(motions, near, TOGETHER)
                u = grid.settle(u, motions)
        u = grid.fixed(smoothed_near(u, bad), motions)
    warn(GIVEN_UP)
    return with_linear(Image(grid.all_together(u, 1.0), canonical), linear, geometry).rounded(), count


def bounding_box(inside: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around the True voxels of (k, j, i), as slices."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _dilated(inside: np.ndarray) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """The box one voxel wider than the True voxels, and in it these voxels with their face neighbors."""
    box = tuple(slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(bounding_box(inside), inside.shape))
    inside = inside[box]
    zone = inside.copy()
    for axis in range(3):
        head, tail = [slice(None)] * 3, [slice(None)] * 3
        head[axis], tail[axis] = slice(None, -1), slice(1, None)
        zone[tuple(head)] |= inside[tuple(tail)]
        zone[tuple(tail)] |= inside[tuple(head)]
    return box, zone


def _clear(weight: torch.Tensor, box: tuple[slice, slice, slice], other: _Body) -> None:
    """Set a weight in a box to zero in another body's zone."""
    both = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, other.box)]
    if any(s.start >= s.stop for s in both):
        return
    own = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(both, box))
    theirs = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(both, other.box))
    weight[own] = torch.where(other.zone[theirs], 0.0, weight[own])
