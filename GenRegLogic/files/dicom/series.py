"""A DICOM file or folder: which of its series is the scan, or which can be chosen."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from ...errors import Doubt, InputError, ResourceError
from ...machine.libraries import quiet_itk
from .headers import Frame, is_dicom, quiet_pydicom, read_frames
from .stacks import SINGLE_SLICE, Stack, stacks_of
from .volume import Slices, stacked

__all__ = ["read_slices"]

MAX_LISTED = 10
DICOM_ENDINGS = (".dcm", ".ima")
MAX_LOOKED_AT = 50
"""Subfolders, and files in each, that are looked at for DICOM where a folder has none."""


def read_slices(path: Path, *, series: str | None = None, allow_missing_slices: bool = False) -> Slices:
    """The scan that a DICOM file or folder holds; arguments and errors are those of `scan.read_dicom`."""
    path = Path(path)
    if not path.is_dir() and not is_dicom(path):
        raise InputError("There is no DICOM file of this name; give the folder of a series, or a file of a whole scan.")
    try:
        with quiet_pydicom(), quiet_itk():  # the decoders, too, write to the file descriptor itself
            frames = _folder_frames(path) if path.is_dir() else read_frames(path)
            if not frames:
                raise InputError("The file is an index (DICOMDIR), not a scan; give the folder of a series.")
            stack = _chosen(_all_stacks(frames), series, path.is_dir())
            return stacked(stack, allow_missing_slices=allow_missing_slices)
    except MemoryError:
        raise ResourceError("There is not enough memory to read this DICOM scan.") from None


def _folder_frames(folder: Path) -> list[Frame]:
    """All images of the DICOM files in a folder, whatever their names; other files are left alone."""
    try:
        files = sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_file())
    except OSError:
        raise InputError("The folder cannot be read; change its permissions.") from None
    frames, damaged, found = [], 0, False
    for file in files:
        if not is_dicom(file):
            damaged += file.suffix.lower() in DICOM_ENDINGS
            continue
        try:
            frames += read_frames(file)
            found = True
        except InputError:
            damaged += 1
    if damaged:
        text = "One DICOM file" if damaged == 1 else f"{damaged} DICOM files"
        raise InputError(f"{text} of the folder cannot be read; copy the folder again, or remove what is damaged.")
    if not frames:
        raise InputError(_no_images(folder, found))
    return frames


def _no_images(folder: Path, only_index: bool) -> str:
    having = 0
    for sub in sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())[:MAX_LOOKED_AT]:
        try:
            files = sorted(Path(entry.path) for entry in os.scandir(sub) if entry.is_file())[:MAX_LOOKED_AT]
        except OSError:
            continue
        having += any(is_dicom(file) for file in files)
    if having:
        return (
            f"The folder itself holds no DICOM images, but {having} of its subfolders "
            f"do{'es' if having == 1 else ''}; give the one with the scan."
        )
    if only_index:
        return "The folder holds no DICOM images, only an index (DICOMDIR); give the folder of the series itself."
    return "The folder holds no DICOM images."


def _all_stacks(frames: list[Frame]) -> list[Stack]:
    """The stacks of all series, in the order of their numbers."""
    series: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        series[frame.series].append(frame)
    order = sorted(series, key=lambda uid: (_number(series[uid][0]), uid))
    return [stack for uid in order for stack in stacks_of(series[uid])]


def _number(frame: Frame) -> float:
    try:
        return float(frame.about["SeriesNumber"])
    except ValueError:
        return float("inf")


def _chosen(stacks: list[Stack], series: str | None, folder: bool) -> Stack:
    """The stack that was asked for, or the only one that can be meant.

    Raises:
        InputError: There is none, or the user has to choose.
    """
    scans = [stack for stack in stacks if stack.scan]
    if series is not None:
        stack = _asked_for(stacks, scans, series.strip())
        return _usable(stack, folder)
    if not scans:
        single = [stack for stack in stacks if stack.problem == SINGLE_SLICE]
        if len(single) > 1 and len(single) == len(stacks):
            raise InputError(
                f"The folder holds {len(single)} DICOM series of a single slice each; GenReg needs a 3D scan of "
                "several slices in one series."
            )
        return _usable(max(stacks, key=lambda stack: len(stack.frames)), folder)
    candidates = [stack for stack in scans if stack.main or stack.problem] or scans
    if len(candidates) > 1 or (candidates[0].differs and len(stacks) > 1):
        raise InputError(f"The {'folder' if folder else 'file'} holds {_listed(scans)}")
    stack = _usable(candidates[0], folder)
    others = len({other.series for other in stacks} - {stack.series})
    if others:
        text = (
            f"The folder holds {others + 1} DICOM series; the only one that is a 3D scan ({len(stack.frames)} images) "
            "was read."
        )
        stack.doubts.append(Doubt("other_series", text))
    return stack


def _asked_for(stacks: list[Stack], scans: list[Stack], series: str) -> Stack:
    place = int(series) if series.isascii() and series.isdecimal() else 0
    by_number = scans[place - 1 : place] if place else []
    by_uid = [stack for stack in stacks if stack.series == series]
    named = [stack for stack in stacks if series and stack.frames[0].about["SeriesNumber"] == series]
    found = by_number or by_uid or named
    if len({stack.series for stack in found}) == 1:
        found = [stack for stack in found if stack.scan] or found
    if len(found) == 1:
        if by_number and named and by_number[0].series not in {stack.series for stack in named}:
            text = f"{series} was taken as the number in the list of DICOM volumes, not as a series number."
            found[0].doubts.append(Doubt("series_by_list_number", text))
        return found[0]
    what = "several volumes" if found else "no volume"
    if not scans:
        raise InputError(f"There is {what} {series} in it, and no 3D scan at all.")
    raise InputError(f"--series {series} fits {what} in it, which holds {_listed(scans)}")


def _listed(scans: list[Stack]) -> str:
    """The volumes to choose from, as the end of a sentence; without anything about the patient."""
    texts = [f"{n}: {stack.describe()}" for n, stack in enumerate(scans, 1)]
    more = len(texts) - MAX_LISTED
    texts = texts[:MAX_LISTED] + ([f"and {more} more"] if more > 0 else [])
    differs = {stack.differs for stack in scans}
    apart = f" that differ in {differs.pop()}" if len(differs) == 1 and "" not in differs else ""
    volumes = "one DICOM volume" if len(scans) == 1 else f"{len(scans)} DICOM volumes{apart}"
    return f"{volumes}: {'; '.join(texts)}; choose one with --series NUMBER (of this list) or --series UID."


def _usable(stack: Stack, folder: bool) -> Stack:
    """The stack itself.

    Raises:
        InputError: It has a problem.
    """
    if stack.problem == SINGLE_SLICE:
        if folder:
            raise InputError(
                "The folder holds a single slice of a DICOM series, the only one there; GenReg needs a 3D scan of "
                "several slices."
            )
        raise InputError("The file is a single slice of a DICOM series; give the folder that holds the series.")
    if stack.problem:
        raise InputError(stack.problem)
    return stack
