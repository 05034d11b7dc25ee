"""DICOM: a file, or the folder of a series, to one volume whose voxels are at their true places, or a refusal.

Read with pydicom, and sorted and checked here. highdicom's volumes and dcm2niix were tried on the same cases: highdicom
refuses tilted, unevenly spaced and mixed series without saying why, and dcm2niix cannot be asked what it assumed; both
leave the finding of the right stack to the caller.

`headers` reads what the files say, `stacks` finds what belongs together, `series` chooses among it, and `volume` makes
the volume. pydicom is imported only when a DICOM file is met: Slicer reads its scans itself.
"""

from ..._lazy import lazy_names

_HOMES = {"is_dicom": "headers", "read_dicom": "scan", "read_slices": "series"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
