"""The panel on the test host and the phantom in the scene, for `scripts/pictures` and `scripts/responsiveness`."""

from __future__ import annotations

import importlib.util
import os
import sys

from measuring import ROOT, MeasuringError

PATIENCE_S = 900.0
"""Longest time that `wait` waits; a run takes well under a minute on two cores."""

CT_WINDOW = (-180, 320)
"""Soft-tissue window, HU."""


def open_panel():
    """Boot the host and open the module's panel; returns the host's package and the widget.

    Raises:
        MeasuringError: The host cannot run on this machine.
    """
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.insert(0, str(ROOT))
    folder = ROOT / "Testing" / "host"
    places = {"submodule_search_locations": [str(folder)]}
    spec = importlib.util.spec_from_file_location("host", folder / "__init__.py", **places)
    host = sys.modules["host"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(host)
    reason = host.available()
    if reason:
        raise MeasuringError(reason)
    module = host.loadModule(ROOT / "GenRegModule" / "GenReg.py")
    return host, host.openWidget(module)


def add_phantom(*, coarseness: float = 1.0):
    """Put the project's own CT and MR into the scene; returns the two volume nodes.

    Args:
        coarseness: Voxel edges relative to the usual 3 mm.
    """
    import slicer

    from GenRegLogic.mrml.nodes.volumes import setVolume
    from GenRegLogic.phantom.scans import make_pair

    pair = make_pair(coarseness=coarseness)
    nodes = []
    for name, volume, window in (("CT", pair.fixed, CT_WINDOW), ("MR", pair.moving, None)):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        setVolume(node, volume.array, volume.geometry)
        node.CreateDefaultDisplayNodes()
        if window:
            node.GetDisplayNode().SetAutoWindowLevel(False)
            node.GetDisplayNode().SetWindowLevelMinMax(*window)
        nodes.append(node)
    return nodes


def wait(host, until, what: str):
    """Process the panel's events until a condition is true, and return its value.

    Raises:
        MeasuringError: It did not become true in `PATIENCE_S`.
    """
    result = host.processEvents(PATIENCE_S, until=until)
    if not result:
        raise MeasuringError(f"waited {PATIENCE_S:.0f} s in vain for {what}.")
    return result
