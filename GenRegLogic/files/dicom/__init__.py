"""DICOM: a file, or the folder of a series, to one volume whose voxels are at their true places, or a refusal.

Read with pydicom, and sorted and checked here. highdicom's volumes and dcm2niix were tried on the same cases: highdicom
needs a frame of reference, refuses tilt, gaps, echoes and copies alike as "not regularly spaced", and reads no RT dose;
dcm2niix takes uneven and missing slices as even, cine loops as scans, and frames in the order in which they are stored.

`headers` reads what the files say, `stacks` finds what belongs together, `series` chooses among it, and `volume` makes
the volume. pydicom is imported only when a DICOM file is met: Slicer reads its scans itself.
"""

from ..._lazy import lazy_names

_HOMES = {"is_dicom": "headers", "read_dicom": "scan", "read_slices": "series"}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
