"""The result of a registration, and how it is saved as files."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from .errors import InputError
from .machine.memory import return_kept_memory
from .quality.maps import confidence_on
from .quality.report import plain
from .quality.verdict import verdict
from .space.field import AffineTransform, DisplacementField
from .space.geometry import Geometry
from .space.inverse import accurate_inverse
from .space.volume import Volume
from .space.warp import warp_image

__all__ = ["Registration"]

KINDS = {
    "transform": "transform",
    "inverse": "transform",
    "warped": "image",
    "expected_error": "image",
    "report": "report",
    "page": "page",
}
"""What `Registration.save` writes, in this order, with the kind under which `files.check_writable` knows it."""

NAMES_IN_A_FOLDER = {
    "transform": "transform.nii.gz",
    "inverse": "inverse.nii.gz",
    "warped": "warped.nii.gz",
    "report": "report.json",
    "page": "report.html",
}


@dataclasses.dataclass(eq=False, repr=False)
class Registration:
    """The result of `register` and of `repair`.

    Attributes:
        forward: Fixed -> moving, LPS mm, on the fixed scan's grid, or on a coarser one between its corners where that
            was wanted or the scan is very large (`Settings.transform_spacing_mm`); the linear part is included, and
            continues the field outside the grid.
        linear: The linear part by itself, fixed -> moving, LPS mm.
        confidence: Expected error in mm, on a coarse grid over the fixed body (see `expected_error`), or None.
        report: Figures and verdict as plain JSON values (quality/report.schema.json), as the run measured them. Its
            inverse consistency error is that of the inverse at some 20,000 points; see `report_with_inverse`.
    """

    forward: DisplacementField
    linear: AffineTransform
    confidence: Volume | None
    report: dict
    _moving: Volume
    _body: np.ndarray
    _inverse: DisplacementField | None = None
    _fixed: Volume | None = None
    _inverse_error: dict | None = None
    _inverse_grid: Geometry | None = None

    def __post_init__(self) -> None:
        self.forward = dataclasses.replace(self.forward, beyond=self.linear)

    def inverse(self) -> DisplacementField:
        """Moving -> fixed, LPS mm, on the moving scan's grid, or one twice as fine where its voxels are large.

        Over a very large scan, or where a spacing was given, the grid is coarser, as that of `forward` is.

        Computed on the first call. It does not change `report`; `report_with_inverse` has the figures of this field.
        """
        if self._inverse is None:
            inverse, error = accurate_inverse(self.forward, self._inverse_grid or self._moving.geometry, self._body)
            self._inverse = dataclasses.replace(inverse, beyond=self.linear.inverse())
            self._inverse_error = plain({"mean_mm": error.mean_mm, "max_mm": error.max_mm})
        return self._inverse

    def inverse_error(self) -> dict:
        """{"mean_mm", "max_mm"} of the inverse consistency error in the body, of the field that `inverse` returns."""
        self.inverse()
        return dict(self._inverse_error)

    def report_with_inverse(self) -> dict:
        """The report to save beside the inverse: with that field's inverse consistency error and the verdict for it.

        `report` itself is unchanged.
        """
        report = self.report | {"inverse_error": self.inverse_error()}
        status, reasons = verdict(report)
        return report | {"verdict": {"status": status, "reasons": reasons}}

    def warped(self, interpolation: str = "linear") -> Volume:
        """The moving scan on the fixed scan's grid.

        Args:
            interpolation: "linear", "cubic" or "nearest".

        Raises:
            InputError: The interpolation is another word.
        """
        grid = self.forward.geometry if self._fixed is None else self._fixed.geometry
        return_kept_memory()  # warping needs large arrays, and what was computed before left small blocks
        return warp_image(self._moving, self.forward, grid, interpolation=interpolation)

    def expected_error(self) -> Volume:
        """The expected error, mm, on the fixed scan's grid, (k, j, i) float32.

        0 where nothing was judged: outside the body, and where the transform leads out of the moving scan.

        Raises:
            InputError: The result has no such map.
        """
        self._check_expected_error()
        grid = self.forward.geometry if self._fixed is None else self._fixed.geometry
        return confidence_on(self.confidence, grid, inside_only=True)

    def _check_expected_error(self) -> None:
        if self.confidence is None:
            raise InputError("This result has no map of the expected error; register the scans again.")

    def save(
        self,
        folder: str | Path | None = None,
        *,
        transform: str | Path | None = None,
        inverse: str | Path | None = None,
        warped: str | Path | None = None,
        expected_error: str | Path | None = None,
        report: str | Path | None = None,
        page: str | Path | None = None,
    ) -> dict[str, Path]:
        """Write results so that either all files appear or none; names and folders are checked before anything else.

        Args:
            folder: Receives transform.nii.gz, inverse.nii.gz, warped.nii.gz, report.json and report.html. It is created
                where it is missing, and removed again where nothing could be saved. A file that is named below is
                written to its own path instead.
            transform: Fixed -> moving: .nii.gz, .nii, .nrrd, .mha (a displacement field) or .h5, .tfm (ITK).
            inverse: Moving -> fixed, the same endings. The report and the page then have the figures of this inverse.
            warped: The moving scan on the fixed scan's grid: .nii.gz, .nii, .nrrd, .mha.
            expected_error: What the method of this name returns, the same endings.
            report: .json.
            page: .html, for people, with pictures.

        Returns:
            The paths of the files that were written, by "transform", "inverse", "warped", "expected_error", "report"
            and "page".

        Raises:
            InputError: No file is requested, an ending is wrong, a folder is missing or read-only, two results have
                the same path, or the result has no map of the expected error where that is wanted.
            ResourceError: The disk is full.
        """
        from .cli.outputs import Output, check_outputs, write_outputs

        given = {
            "transform": transform,
            "inverse": inverse,
            "warped": warped,
            "expected_error": expected_error,
            "report": report,
            "page": page,
        }
        paths = {kind: Path(path) for kind, path in given.items() if path is not None}
        if folder is not None:
            paths = {kind: Path(folder) / name for kind, name in NAMES_IN_A_FOLDER.items()} | paths
        if not paths:
            raise InputError("Nothing says what to save; give a folder, or a path such as transform='field.nii.gz'.")
        if "expected_error" in paths:
            self._check_expected_error()  # before anything is computed or written
        if "page" in paths and self._fixed is None:
            raise InputError("This result doesn't hold the fixed scan that a page shows; save it without the page.")
        with contextlib.nullcontext() if folder is None else _present(Path(folder)):
            check_outputs([Output(path, KINDS[kind], f"{kind}=") for kind, path in paths.items()], ())
            writers = self._writers("inverse" in paths)
            write_outputs([(path, writers[kind]) for kind, path in paths.items()])
        return paths

    def _writers(self, with_inverse: bool) -> Mapping[str, Callable[[Path], None]]:
        """Per kind a function that computes the result and writes it to a path."""
        from .files import write_transform, write_volume
        from .htmlreport import build_html, write_html
        from .quality.report import write_report

        report = self.report_with_inverse() if with_inverse else self.report

        def write_page(path: Path) -> None:
            html = build_html(self._fixed, self._moving, self.forward, report, confidence=self.confidence)
            write_html(html, path)

        return {
            "transform": partial(write_transform, self.forward),
            "inverse": lambda path: write_transform(self.inverse(), path),
            "warped": lambda path: write_volume(self.warped(), path),
            "expected_error": lambda path: write_volume(self.expected_error(), path),
            "report": partial(write_report, report),
            "page": write_page,
        }

    def __repr__(self) -> str:
        """One line: the verdict and its main figures."""
        jacobian = self.report.get("jacobian") or {}
        confidence = self.report.get("confidence") or {}
        parts = [str((self.report.get("verdict") or {}).get("status", "not judged"))]
        if confidence.get("median_mm") is not None:
            parts.append(f"expected error {confidence['median_mm']:.2g} mm")
        if jacobian.get("folds_pct") is not None:
            parts.append(f"folds {jacobian['folds_pct']:.2g} %")
        size = " x ".join(str(n) for n in self.forward.geometry.size)
        return f"Registration({', '.join(parts)}; {size} voxels, {self.report.get('seconds', 0.0):.1f} s)"

    def _repr_html_(self) -> str:
        """The same for notebooks, with the verdict's sentences."""
        from html import escape

        reasons = (self.report.get("verdict") or {}).get("reasons", [])
        listed = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        return f"<code>{escape(repr(self))}</code>" + (f"<ul>{listed}</ul>" if listed else "")


@contextlib.contextmanager
def _present(folder: Path) -> Iterator[None]:
    """Create a folder where it is missing; if the block fails, the folders that were created are removed again."""
    with contextlib.ExitStack() as undo:
        try:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                undo.callback(_remove_if_empty, path)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error.strerror or error}); choose another folder.") from None
        yield
        undo.pop_all()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
