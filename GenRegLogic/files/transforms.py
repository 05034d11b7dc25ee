"""Reading and writing transforms: displacement fields as images, and the transform files of ITK and MINC."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import Doubt, InputError, ResourceError
from ..machine.libraries import quiet_itk
from ..space.field import AffineTransform, CompositeTransform, DisplacementField, Transform, from_sitk, sample_transform
from ..space.geometry import Geometry
from ..space.inverse import fit_affine
from .atomic import IMAGE_ENDINGS, check_writable, replacing
from .images import write_image
from .niftiwriting import is_nifti, write_nifti
from .reading import existing_file, naming

__all__ = ["read_transform", "read_transform_and_doubts", "write_transform"]

READ_TRANSFORM_ENDINGS = (".h5", ".hdf5", ".tfm", ".txt", ".mat", ".xfm")
BYTES_PER_NUMBER_IN_TEXT = 25
TEXT_BYTES = 2**26
"""No linear transform or grid of B-splines is written as more text than this; a displacement field may be."""

ITK_TEXT = b"#Insight Transform File"
MINC_TEXT = b"MNI Transform File"

COUNTS = {
    "AffineTransform": 12,
    "TranslationTransform": 3,
    "Euler3DTransform": 6,
    "VersorRigid3DTransform": 6,
    "VersorTransform": 3,
    "Similarity3DTransform": 7,
    "ScaleTransform": 3,
    "ScaleVersor3DTransform": 9,
    "ScaleSkewVersor3DTransform": 15,
    "ComposeScaleSkewVersor3DTransform": 12,
}
"""Parameters of each linear transform of ITK in 3D."""

REFUSED_TRANSFORMS = {
    ".lta": "FreeSurfer's .lta; convert it first (lta_convert --inlta FILE --outitk OUT.txt)",
    ".m3z": "FreeSurfer's .m3z; convert it first (mri_warp_convert --inm3z FILE --outitk OUT.nii.gz)",
    ".mgz": "FreeSurfer's; convert it to ITK's first (mri_warp_convert or lta_convert)",
}


def read_transform(path: str | Path) -> Transform:
    """Read a transform, fixed -> moving, LPS mm.

    Args:
        path: A displacement field image (.nii, .nii.gz, .nrrd, .mha, .mhd), which may also be NiftyReg's or SPM's; an
            ITK transform file (.h5, .tfm, .txt, .mat); or a linear .xfm of MINC and FreeSurfer.

    Returns:
        The transform. Outside its grid a displacement field continues with the linear transform nearest to it, as
        `DisplacementField` describes.

    Raises:
        InputError: The file is missing, unreadable, or holds no transform of 3D points.
        ResourceError: Not enough memory.
    """
    return read_transform_and_doubts(path)[0]


def read_transform_and_doubts(path: str | Path) -> tuple[Transform, tuple[Doubt, ...]]:
    """`read_transform`, with sentences about what was converted or assumed.

    Raises:
        InputError: As `read_transform`.
        ResourceError: Not enough memory.
    """
    path = existing_file(path)
    name = path.name.lower()
    with naming(path), quiet_itk():
        for ending, what in REFUSED_TRANSFORMS.items():
            if name.endswith(ending):
                raise InputError(f"The file is a transform of {what}.")
        with path.open("rb") as stream:
            head = stream.read(1024)
        if head.lstrip().startswith(MINC_TEXT):
            return _read_minc(path), ()
        if not name.endswith(READ_TRANSFORM_ENDINGS):
            from .fields import read_field

            field, doubts = read_field(path)
            return _continued(field), doubts
        _check_text(path, head)
        return _continued(from_sitk(_read_itk(path, head))), ()


def _continued(transform: Transform) -> Transform:
    """The transform, in which each field continues outside its grid with the linear transform nearest to it.

    A field beside a linear transform stays zero there, as in ITK: that transform is then what goes on.
    """
    if isinstance(transform, CompositeTransform):
        if any(isinstance(part, AffineTransform) for part in transform.parts):
            return transform
        return CompositeTransform(tuple(_continued(part) for part in transform.parts))
    return replace(transform, beyond=fit_affine(transform)) if isinstance(transform, DisplacementField) else transform


def _check_text(path: Path, head: bytes) -> None:
    """Refuse text that other programs keep in files of the same endings."""
    text = head.lstrip()
    if text.startswith(b"(") or b"(Transform " in text:
        raise InputError(
            "The file holds parameters of elastix; let transformix write the displacement field (transformix -def all) "
            "and give that."
        )
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return
    if len(numbers) in (12, 16):
        raise InputError(
            "The file holds a matrix without saying in which frame (as FSL's FLIRT writes it); convert it to ITK's "
            "first (for instance with c3d_affine_tool -fsl2ras -oitk)."
        )


def _read_itk(path: Path, head: bytes) -> sitk.Transform:
    try:
        transform = sitk.ReadTransform(str(path))
    except (RuntimeError, UnicodeDecodeError) as error:  # ITK repeats what it found in the file, which may be any bytes
        if "allocate memory" in str(error) or "bad_alloc" in str(error):
            raise ResourceError("There is not enough memory to read this file.") from None
        raise InputError(
            "The file holds no transform that ITK can read; if Slicer wrote an inverted grid transform, save it "
            "as a displacement field image instead."
        ) from None
    if head.startswith(ITK_TEXT):
        _check_itk_text(path, transform)
    return transform


def _check_itk_text(path: Path, transform: sitk.Transform) -> None:
    """Refuse a text file that is cut off: ITK takes parameters that are missing for those of the identity."""
    counts = []
    with path.open(encoding="latin-1") as lines:
        for line in lines:
            key, _, values = line.partition(":")
            if key == "Transform":
                counts.append({"name": values.strip()})
            elif key in ("Parameters", "FixedParameters") and counts:
                try:
                    counts[-1][key] = len(np.array(values.split(), np.float64))
                except ValueError:
                    raise InputError(
                        "The file holds something that is not a number among its parameters; write it again with "
                        "decimal points."
                    ) from None
    leaves = [part for part in counts if not part["name"].startswith("CompositeTransform")]
    expected = list(_leaves(transform))
    complete = len(leaves) == len(expected) and all(
        (found.get("Parameters"), found.get("FixedParameters")) == (parameters, fixed)
        for found, (parameters, fixed) in zip(leaves, expected)
    )
    if not complete:
        raise InputError("The file is cut off: parameters of its transform are missing; copy or export it again.")


def _leaves(transform: sitk.Transform):
    """How many parameters and fixed parameters each transform has that isn't a composite, in the file's order."""
    transform = transform.Downcast()
    if isinstance(transform, sitk.CompositeTransform):
        for n in range(transform.GetNumberOfTransforms()):
            yield from _leaves(transform.GetNthTransform(n))
    else:
        own = COUNTS.get(transform.GetName())  # ITK counts what it found, also where that is too much
        yield own or transform.GetNumberOfParameters(), transform.GetNumberOfFixedParameters()


def _read_minc(path: Path) -> AffineTransform:
    """A linear .xfm, RAS mm, as FreeSurfer's talairach.xfm; source: the MNI transform file format."""
    if path.stat().st_size > TEXT_BYTES:
        raise InputError("The file is too large for a linear transform.")
    text = re.sub(r"%[^\n]*", "", path.read_text(encoding="latin-1"))
    kinds = re.findall(r"Transform_Type\s*=\s*(\w+)", text)
    if kinds != ["Linear"]:
        raise InputError(
            "The MINC transform isn't one linear transform; convert it to ITK's first (for instance with ants' tools)."
        )
    numbers = re.search(r"Linear_Transform\s*=([^;]*);", text)
    try:
        rows = np.array(numbers.group(1).split(), np.float64).reshape(3, 4)
    except (AttributeError, ValueError):
        raise InputError(
            "The file is cut off or damaged: its matrix isn't 12 numbers; copy or export it again."
        ) from None
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    return AffineTransform(turn @ np.vstack([rows, [0, 0, 0, 1]]) @ turn)


def write_transform(transform: Transform, path: str | Path, *, geometry: Geometry | None = None) -> None:
    """Write a transform; the ending says how.

    Args:
        transform: Fixed -> moving.
        path: .nii.gz, .nii, .nrrd or .mha write the displacement field as an image of float32 mm, LPS, rounded as
            `DisplacementField.rounded` says; .h5 and .tfm write an ITK transform.
        geometry: Grid for the image; needed only where the transform isn't a field itself.

    Raises:
        InputError: The ending is unknown, the folder cannot be written to, or there is no grid for an image.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "transform")
    if geometry is not None:
        transform = sample_transform(transform, geometry)
    is_field = isinstance(transform, DisplacementField)
    if path.name.lower().endswith(IMAGE_ENDINGS):
        if not is_field:
            raise InputError(
                f"{path}: this transform has no grid, so it cannot be written as an image; choose the ending .h5 or "
                ".tfm, or name a reference image."
            )
        with replacing(path, transform.array.nbytes) as temporary:
            _write_field(transform.rounded(), temporary)
        return
    numbers = transform.array.size if is_field else 0
    needed = numbers * (BYTES_PER_NUMBER_IN_TEXT if path.suffix == ".tfm" else np.float64().nbytes)
    with replacing(path, needed) as temporary, quiet_itk():
        itk = transform.to_sitk_continued() if is_field else transform.to_sitk()
        sitk.WriteTransform(itk, str(temporary))


def _write_field(field: DisplacementField, path: Path) -> None:
    if is_nifti(path):
        write_nifti(field.array, field.geometry, path)
    else:
        write_image(field.to_image(), path)
