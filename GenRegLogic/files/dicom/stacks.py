"""Which of the images of a DICOM series belong to one volume: stacks of parallel slices, one image at each position.

A series may hold localizers of another orientation, images stored twice, and several volumes at the same positions
(echoes, phases, time points, b-values), which are told apart by their headers and never mixed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from ...errors import Doubt
from .headers import Frame
from .pixels import same_values
from .tags import TELLING, UNITS

__all__ = ["SINGLE_SLICE", "Stack", "heights_of", "stacks_of", "typical_gap"]

MIN_MAJORITY = 3
MAX_OTHERS, MAX_OTHERS_SHARE = 3, 0.1
"""So many images of another orientation or size are left out of a series that is clearly one stack."""

SAME_AXES = 1e-3
SAME_SPACING = 1e-3
SAME_POSITION = 0.01
"""Of a voxel's edge; images closer than this are at one position."""

EVEN = 0.05
"""Of a slice spacing: the largest deviation from even spacing that is left alone. Headers round positions."""

SMALL_GAP = 0.85
"""Where the lower quartile of the gaps is below this share of their median, it is the spacing."""

MAX_ORIENTATIONS = 200
MAX_VOLUMES = 10
CONTRASTS = ("echo time", "time point", "b-value", "inversion time", "component")
"""What is never the same volume where it differs among interleaved slices."""

ACQUISITIONS = ("cardiac phase", "respiratory phase", "image type", "contrast agent", "acquisition", "stack")
"""What is not the same volume where it differs among interleaved slices that only by themselves are evenly spaced."""

TIMES = ("time point", "trigger time", "frame time", "acquisition time", "content time")
SINGLE_SLICE = "This is a single slice; GenReg needs a 3D scan of several slices."


@dataclass(eq=False)
class Stack:
    """Images of one series that make a volume, or the reason why they make none.

    Attributes:
        frames: Sorted along the normal, unless there is a problem.
        label: What tells it from other stacks of its series, "" if it is the only one.
        differs: In what the stacks of the series differ; not "" means that the user has to choose.
        problem: Why it can't be read; "" if it can.
        scan: Whether it is a 3D scan or ought to be one.
        doubts: What was left out.
    """

    frames: list[Frame]
    label: str = ""
    differs: str = ""
    problem: str = ""
    scan: bool = True
    doubts: list[Doubt] = field(default_factory=list)

    @property
    def series(self) -> str:
        return self.frames[0].series

    @property
    def main(self) -> bool:
        """Whether it is a scan to register rather than a localizer or a pair of images."""
        return self.scan and len(self.frames) >= MIN_MAJORITY and not self.frames[0].localizer

    def describe(self) -> str:
        """Modality, description, size and spacing; without the description if it names the patient."""
        about = self.frames[0].about
        words = "".join(c if c.isprintable() and c not in ";:" else " " for c in about["SeriesDescription"])[:40]
        names = about["PatientName"].replace("^", " ").replace("=", " ").split() + [about["PatientID"]]
        if any(len(name) > 2 and name.lower() in words.lower() for name in names):
            words = ""
        text = " ".join(" ".join([about["Modality"], f'"{words.strip()}"' if words.strip() else ""]).split())
        if self.problem:
            return ", ".join(
                part for part in (text, self.label, f"{len(self.frames)} images that can't be read") if part
            )
        rows, columns = self.frames[0].size
        gap = typical_gap(np.diff(heights_of(self.frames)))
        edges = " x ".join(f"{s:.3g}" for s in (*self.frames[0].spacing[::-1], gap))
        size = f"{columns} x {rows} x {len(self.frames)} voxels of {edges} mm"
        return ", ".join(part for part in (text, self.label, size) if part)


def heights_of(frames: list[Frame]) -> np.ndarray:
    """(n,) mm along the normal that the first frame has."""
    return np.array([frame.position for frame in frames]) @ frames[0].normal


def typical_gap(gaps: np.ndarray) -> float:
    """The distance, mm, that neighboring slices have where none is missing."""
    small, median = np.sort(gaps)[len(gaps) // 4], np.median(gaps)
    return float(small if small < SMALL_GAP * median else median)


def stacks_of(frames: list[Frame]) -> list[Stack]:
    """The stacks of one series, or what can't be made a stack, with the reason.

    Raises:
        InputError: Images that have to be compared are damaged.
    """
    broken = [frame for frame in frames if frame.broken]
    strange = [frame for frame in frames if frame.problem and not frame.broken]
    good = [frame for frame in frames if not frame.problem]
    sizes = {frame.size for frame in good}
    if broken and (not good or any(frame.size in sizes for frame in broken)):
        return [Stack(frames, problem=broken[0].problem, scan=len(frames) > 1)]
    if not good:
        return [Stack(frames, problem=strange[0].problem, scan=False)]
    groups = sorted(_parallel(good), key=len, reverse=True)
    most = len(groups[0])
    others = len(frames) - most
    if others == 0 or (
        most >= MIN_MAJORITY and others * 2 <= most and others <= max(MAX_OTHERS, MAX_OTHERS_SHARE * len(frames))
    ):
        stacks = _volumes(groups[0])
        if others:
            images, were = ("image", "was") if others == 1 else ("images", "were")
            text = f"{others} {images} of another orientation, size or kind {were} left out of the DICOM series."
            for stack in stacks:
                stack.doubts.append(Doubt("localizers_left_out", text))
        return stacks
    differs = "size" if len({(g[0].size, g[0].spacing) for g in groups}) > 1 else "orientation"
    if len(groups) > MAX_ORIENTATIONS:
        return [Stack(frames, problem="Every image of the DICOM series has another orientation; give a 3D scan.")]
    stacks = [stack for group in groups if len(group) >= 2 for stack in _volumes(group)]
    if not stacks:
        if len(groups) == 1 or len(frames) <= MAX_OTHERS:
            return [Stack(frames, problem=SINGLE_SLICE, scan=False)]
        return [
            Stack(frames, problem=f"The images of the DICOM series differ in {differs}; give a 3D scan.", scan=False)
        ]
    for stack in stacks:
        own = f"size {stack.frames[0].size[1]} x {stack.frames[0].size[0]}"
        own = own if differs == "size" else f"orientation {_plane(stack.frames[0])}"
        stack.label = ", ".join(part for part in (own, stack.label) if part)
        stack.differs = " and ".join(part for part in (differs, stack.differs) if part)
    return stacks


def _parallel(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of the same size, spacing and orientation together."""
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            first = group[0]
            if (
                frame.size == first.size
                and np.allclose(frame.spacing, first.spacing, rtol=SAME_SPACING)
                and np.abs(frame.axes - first.axes).max() < SAME_AXES
            ):
                group.append(frame)
                break
        else:
            groups.append([frame])
            if len(groups) > MAX_ORIENTATIONS:
                break
    return groups


def _plane(frame: Frame) -> str:
    axis = np.abs(frame.normal)
    return ("sagittal", "coronal", "axial")[int(axis.argmax())] + (" oblique" if axis.max() < 0.99 else "")


def _volumes(frames: list[Frame]) -> list[Stack]:
    """The volumes of parallel frames: one, or several where images share positions."""
    heights = heights_of(frames)
    frames = [frames[n] for n in np.lexsort(([f.number for f in frames], [f.path.name for f in frames], heights))]
    places = _places(frames)
    doubts = []
    if places[-1] < len(frames) - 1:
        frames, copies = _without_copies(frames, places)
        if copies:
            text = (
                f"{copies} of the DICOM images {'is' if copies == 1 else 'are'} stored twice; the copies were left out."
            )
            doubts.append(Doubt("duplicates_dropped", text))
            places = _places(frames)
    if len(frames) < 2:
        return [Stack(frames, problem=SINGLE_SLICE, scan=False)]
    if places[-1] == 0:
        text = (
            f"All {len(frames)} images of the DICOM series are at one position, so they are no 3D scan, or their "
            "positions are lost; give a 3D scan."
        )
        return [Stack(frames, problem=text, scan=False)]
    parts = _split(frames, places) if places[-1] < len(frames) - 1 else _interleaved(frames)
    if parts is None:
        return [Stack(frames, doubts=doubts)]
    if not parts:
        most = np.bincount(places).max()
        text = (
            f"The DICOM series has several images at one position ({most}), and their headers do not tell which belong "
            "together; export the one you want as a series of its own."
        )
        return [Stack(frames, problem=text)]
    (differs, _), stacks = next(iter(parts)), []
    for (_, label), part in parts.items():
        single = len(part) < 2
        stacks.append(Stack(part, label, differs, SINGLE_SLICE if single else "", not single, list(doubts)))
    return stacks


def _places(frames: list[Frame]) -> np.ndarray:
    """(n,) number of the position of each frame, which are sorted; counted from 0."""
    tolerance = SAME_POSITION * min(frames[0].spacing)
    return np.concatenate([[0], np.cumsum(np.diff(heights_of(frames)) > tolerance)])


def _without_copies(frames: list[Frame], places: np.ndarray) -> tuple[list[Frame], int]:
    """The frames without images that are stored twice.

    A copy is an image with the same identity and values as another; where all that share a position have the same
    values, all are copies, whatever their identity.
    """
    shared = [[frames[n] for n in np.flatnonzero(places == p)] for p in np.flatnonzero(np.bincount(places) > 1)]
    anything = all(same_values(frame, group[0]) for group in shared for frame in group[1:])
    copies = set()
    for group in shared:
        for n, frame in enumerate(group):
            for other in group[:n]:
                identical = (frame.uid, frame.number) == (other.uid, other.number)
                if id(other) not in copies and (anything or (identical and same_values(frame, other))):
                    copies.add(id(frame))
                    break
    return [frame for frame in frames if id(frame) not in copies], len(copies)


def _split(frames: list[Frame], places: np.ndarray) -> dict[tuple[str, str], list[Frame]]:
    """Volumes at the same positions, by (in what they differ, the value); {} if nothing tells them apart."""
    most = int(np.bincount(places).max())
    values = {name: [frame.tells.get(name, "") for frame in frames] for name in (*TELLING, "file")}
    values["place in the plane"] = _shifts(frames)
    apart = [name for name in values if _differs_within(values[name], places)]
    for many in (1, 2, 3):
        fits = []
        for names in combinations(apart, many):
            keys = list(zip(*(values[name] for name in names)))
            if len(set(keys)) <= 2 * most and len(set(zip(keys, places))) == len(frames):
                fits.append((len(set(keys)) - most, names, keys))
        if fits:
            _, names, keys = min(fits, key=lambda fit: fit[0])  # the first of those with the fewest volumes
            return _labelled(frames, names, keys)
    for name in TIMES:
        if name in apart and len(frames) == most * (places[-1] + 1):
            ranks = _ranks(values[name], places)
            if ranks is not None:
                parts = defaultdict(list)
                for frame, rank in zip(frames, ranks):
                    parts["time", f"time point {rank + 1} of {most}"].append(frame)
                return dict(sorted(parts.items(), key=lambda item: int(item[0][1].split()[2])))
    return {}


def _shifts(frames: list[Frame]) -> list[str]:
    """Where the frames lie within their plane, coarsely, as text."""
    shifts = np.array([frame.axes @ (frame.position - frames[0].position) for frame in frames])
    return [f"{a:.0f}/{b:.0f} mm" for a, b in np.round(shifts / 5) * 5 + 0.0]


def _differs_within(values: list[str], places: np.ndarray) -> bool:
    """Whether images at one position differ in a value."""
    return len(set(zip(places, values))) > places[-1] + 1


def _ranks(values: list[str], places: np.ndarray) -> list[int] | None:
    """The rank of each value among those at its position, or None where two are the same or one is no number."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    ranks = [0] * len(values)
    for place in range(places[-1] + 1):
        here = sorted(np.flatnonzero(places == place), key=lambda n: numbers[n])
        if len({numbers[n] for n in here}) < len(here):
            return None
        for rank, n in enumerate(here):
            ranks[n] = rank
    return ranks


def _labelled(frames: list[Frame], names: tuple[str, ...], keys: list[tuple]) -> dict[tuple[str, str], list[Frame]]:
    """The frames of each key, under its description; in the order of the values."""
    groups: dict[tuple, list[Frame]] = defaultdict(list)
    for frame, key in zip(frames, keys):
        groups[key].append(frame)
    differs = " and ".join(names)
    parts = {}
    for number, key in enumerate(sorted(groups, key=lambda key: [_sortable(part) for part in key])):
        texts = []
        for name, value in zip(names, key):
            value = str(number + 1) if name == "file" else _short(value)
            texts.append(f"{name} {value}{UNITS.get(name, '')}" if value else f"no {name}")
        parts[differs, ", ".join(texts)] = groups[key]
    return parts


def _sortable(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def _short(value: str) -> str:
    try:
        return f"{float(value):.6g}" if len(value) > 6 else value
    except ValueError:
        return "".join(c if c.isprintable() and c not in ";:" else " " for c in value)[-40:]


def _interleaved(frames: list[Frame]) -> dict[tuple[str, str], list[Frame]] | None:
    """Volumes whose slices lie between one another's; None where all slices are one volume."""
    even = _is_even(frames)
    for name in CONTRASTS if even else CONTRASTS + ACQUISITIONS:
        values = [frame.tells.get(name, "") for frame in frames]
        if not 1 < len(set(values)) <= MAX_VOLUMES:
            continue
        parts = [[f for f, v in zip(frames, values) if v == value] for value in sorted(set(values))]
        if not all(len(part) >= MIN_MAJORITY and _is_even(part) for part in parts):
            continue
        ends = [heights_of([frames[0], part[0], part[-1]])[1:] for part in parts]
        if all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in combinations(ends, 2)):
            return _labelled(frames, (name,), [(value,) for value in values])
    return None


def _is_even(frames: list[Frame]) -> bool:
    """Whether the frames, sorted, are evenly spaced."""
    heights = heights_of(frames)
    step = (heights[-1] - heights[0]) / (len(frames) - 1)
    return np.abs(heights - heights[0] - step * np.arange(len(frames))).max() <= EVEN * step
