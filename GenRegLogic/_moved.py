"""Modules under their former names: `import GenRegLogic.volume` imports `GenRegLogic.space.volume` itself.

Importing a former name warns once and returns the same module object as the new name, so that classes are identical
and a patch applies to both. Former names that are now packages (files, network, phantom, mrml.views) are not in the
table: their `__init__` offers the names of the former module.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "install"]

PACKAGE = __name__.rpartition(".")[0]

MOVED = {
    "anatomy": "phantom.anatomy",
    "checks": "guidance.masks",
    "cli.chain": "cli.transforms",
    "cli.exit_codes": "cli.common",
    "cli.html": "cli.report",
    "cli.scans": "cli.common",
    "confidence": "quality.confidence",
    "contrast": "stages.schedule",
    "demo": "phantom.demo",
    "describe": "stages.describe",
    "device": "machine.device",
    "estimate": "machine.estimate",
    "field": "space.field",
    "finish": "stages.finish",
    "grid": "space.grid",
    "htmlreport.curve": "htmlreport.objective_plot",
    "htmlreport.figures": "htmlreport.table",
    "htmlreport.pictures": "htmlreport.render",
    "htmlreport.places": "htmlreport.worst_places",
    "htmlreport.planes": "htmlreport.cuts",
    "htmlreport.plates": "htmlreport.illustrations",
    "htmlreport.writing": "htmlreport.page",
    "inverse": "space.inverse",
    "judge": "quality.findings",
    "landmarks": "guidance.landmarks",
    "learned": "network.apply",
    "linear": "stages.linear",
    "maps": "quality.maps",
    "measure": "quality.measure",
    "memory": "machine.memory",
    "machine.cost": "machine.estimate",
    "mrml.colors": "mrml.views.colors",
    "mrml.curve": "mrml.views.objectiveplot",
    "mrml.deformation": "mrml.views.deformation",
    "mrml.grids": "space.margin",
    "mrml.htmlrun": "mrml.runs.transformjobs",
    "mrml.inputs": "mrml.runs.inputs",
    "mrml.maps": "mrml.views.maps",
    "mrml.masks": "mrml.nodes.masks",
    "mrml.modes": "mrml.views.comparison",
    "mrml.pair": "mrml.nodes.pair",
    "mrml.parents": "mrml.nodes.parents",
    "mrml.places": "mrml.views.worstplaces",
    "mrml.reload": "mrml.nodes.keeplinear",
    "mrml.repair": "mrml.runs.localrepair",
    "mrml.run": "mrml.runs.registration",
    "mrml.segments": "mrml.nodes.segments",
    "mrml.snapshot": "mrml.nodes.undo",
    "mrml.tables": "mrml.nodes.tables",
    "mrml.transformjob": "mrml.runs.job",
    "mrml.transforms": "mrml.nodes.transforms",
    "mrml.volumes": "mrml.nodes.volumes",
    "mrml.words": "mrml.i18n",
    "nifti": "files.nifti",
    "picture": "phantom.overview",
    "points": "files.points",
    "prepare": "stages.prepare",
    "propose": "stages.propose",
    "quiet": "machine.libraries",
    "reading": "files.reading",
    "refine": "stages.refine",
    "region": "guidance.region",
    "regions": "quality.organs",
    "replacing": "files.atomic",
    "report": "quality.report",
    "rigidity": "guidance.rigid",
    "runtime": "machine.libraries",
    "search": "stages.search",
    "similarity": "stages.similarity",
    "training.development": "training.validation",
    "verdict": "quality.verdict",
    "volume": "space.volume",
    "warp": "space.warp",
    "weights": "network.weights",
    "worker.frames": "worker.messages",
    "worker.html_job": "worker.jobs",
    "worker.preview": "worker.control",
    "worker.repair_job": "worker.jobs",
}
"""Former name -> current name, both within GenRegLogic; when a module moves again, its line gets the current name."""


class _Alias:
    """Loads a moved module under its former name without changing the module."""

    def __init__(self, new: str) -> None:
        self._new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has replaced it by that of the former name


class _MovedFinder:
    """Finds former names. It is the last finder, so that it costs nothing for modules that exist."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        if package != PACKAGE or old not in MOVED:
            return None
        new = f"{PACKAGE}.{MOVED[old]}"
        # warnings skip the frames of the import system: the warning shows the line with the import
        warnings.warn(f"{fullname} is now {new}; import it from there.", DeprecationWarning, stacklevel=2)
        return ModuleSpec(fullname, _Alias(new))


def install() -> None:
    """Make former names importable. Repeated calls install only one finder."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__qualname__ != _MovedFinder.__qualname__]
    sys.meta_path.append(_MovedFinder())
