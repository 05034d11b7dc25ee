"""A real MRML scene for each test, and a stand-in for the worker process that answers with a known field."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="Slicer's MRML runtime (slicer-core) is not installed")
pytest.importorskip("slicer.util", reason="slicer without its Python utilities")

from GenRegLogic.space.geometry import Geometry  # noqa: E402


@pytest.fixture
def application(monkeypatch):
    """A new scene with its application logic, as `slicer.mrmlScene`."""
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    for name in ("vtkSlicerVolumesLogic", "vtkSlicerTransformLogic", "vtkSlicerMarkupsLogic"):
        module = getattr(slicer, name)()
        module.SetMRMLScene(scene)
    scene.RegisterNodeClass(slicer.vtkMRMLSegmentationNode())
    scene.RegisterNodeClass(slicer.vtkMRMLSegmentationDisplayNode())
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    yield logic
    scene.Clear(True)


@pytest.fixture
def scene(application):
    """The scene."""
    return application.GetMRMLScene()


class Scans:
    """Makes nodes."""

    def __init__(self, scene) -> None:
        self.scene = scene

    def volume(self, name: str, geometry: Geometry, seed: int = 0, className: str = "vtkMRMLScalarVolumeNode"):
        """A volume node of smooth noise on an LPS geometry, without parents."""
        from GenRegLogic.mrml.nodes.volumes import setVolume

        rng = np.random.default_rng(seed)
        array = rng.normal(size=geometry.shape).cumsum(0).cumsum(1).astype(np.float32)
        node = self.scene.AddNewNodeByClass(className, name)
        setVolume(node, array, geometry)
        node.CreateDefaultDisplayNodes()
        return node

    def linear(self, name: str, matrix: np.ndarray):
        """A linear transform node, to parent, RAS."""
        node = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        return node

    def grid(self, name: str, geometry: Geometry, scale: float = 1.0):
        """A non-linear transform node."""
        from GenRegLogic.mrml.nodes.transforms import setField

        node = self.scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
        setField(node, np.full((*geometry.shape, 3), scale, np.float32), geometry)
        return node


@pytest.fixture
def scans(scene):
    """Makes volumes and transforms in the scene."""
    return Scans(scene)


def rigid(degrees=(10.0, -20.0, 30.0), shift=(5.0, -7.0, 11.0)) -> np.ndarray:
    """(4, 4) rotation about x, y, z and shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = shift
    return matrix


GEOMETRIES = {
    "axis-aligned": Geometry((20, 22, 18), (2.0, 2.0, 2.0), (-15.0, 10.0, 40.0)),
    "oblique": Geometry((20, 22, 18), (2.0, 2.0, 2.0), (-15.0, 10.0, 40.0), rigid()[:3, :3]),
    "left-handed": Geometry((20, 22, 18), (2.0, 2.0, 2.0), (25.0, 10.0, 40.0), np.diag([-1.0, 1.0, 1.0])),
    "anisotropic": Geometry((24, 20, 10), (1.2, 1.7, 4.5), (-15.0, 10.0, 40.0), rigid((0, 0, 15))[:3, :3]),
}


def waves(points: np.ndarray) -> np.ndarray:
    """(n, 3) LPS points to smooth displacements of up to 3 mm, LPS."""
    x, y, z = points.T / 12.0
    return 3.0 * np.stack([np.sin(x + 0.3 * y), np.cos(y - 0.5 * z), np.sin(z + 0.7 * x)], axis=-1)


def field(geometry: Geometry, displacement=waves) -> np.ndarray:
    """(k, j, i, 3) float32 LPS mm, in steps of 1/1024 mm as the engine's fields are."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    points = geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    return (np.round(displacement(points) * 1024) / 1024).reshape(*geometry.shape, 3).astype(np.float32)


class FakeWorker:
    """Answers a registration with `waves` at the first poll, or when told to; replaces the worker's client."""

    def __init__(self, answers: bool = True) -> None:
        self.answers, self.commands, self.listener, self.jobs, self.previews = answers, [], None, [], []

    def submit(self, job, parameters, arrays, listener) -> None:
        self.jobs.append((job, parameters, arrays))
        self.listener = listener

    def answer(self, command) -> None:
        from GenRegLogic.errors import Cancelled

        self.commands.append(command)
        if command == "abort":
            self.end(Cancelled("The registration was given up; nothing was changed."))

    def preview(self, wanted) -> None:
        self.previews.append(wanted)

    def poll(self, budget_s: float = 0.02) -> bool:
        if self.answers and self.listener is not None:
            self.end(self.result())
        return False

    def wait(self, timeout_s: float) -> None:
        pass

    def end(self, outcome) -> None:
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.ended(outcome)

    def result(self) -> dict:
        """What the real worker sends for the last job."""
        from GenRegLogic.space.margin import withMargin

        _, parameters, arrays = self.jobs[-1]
        fixed, moving = _geometry(parameters["fixed"]), _geometry(parameters["moving"])
        out, geometries = {}, {}
        out["forward"], geometries["forward"] = withMargin(field(fixed), fixed)
        out["warped"], geometries["warped"] = np.array(arrays["fixed"]) * 2, fixed
        if parameters["want_inverse"]:
            out["inverse"], geometries["inverse"] = withMargin(field(moving, lambda p: -waves(p)), moving)
        report = {
            "verdict": {"status": "trustworthy", "reasons": []},
            "seed": 0,
            "device": "cpu",
            "warnings": [],
            "versions": {"genreg": "0"},
            "settings": parameters["settings"],
            "created": "2026-01-01",
        }
        return {"report": report, "arrays": out, "geometries": geometries}


def _geometry(values: dict) -> Geometry:
    return Geometry(values["size"], values["spacing_mm"], values["origin_lps_mm"], np.array(values["direction"]))


@pytest.fixture
def worker():
    """A worker that answers at the first poll."""
    return FakeWorker()


@pytest.fixture
def waiting():
    """A worker that does not answer until it is told to."""
    return FakeWorker(answers=False)


FIXED, MOVING = GEOMETRIES["oblique"], GEOMETRIES["anisotropic"]
"""Geometries of the scans of `transform`."""


@pytest.fixture
def views(scene):
    """Three slice views, their layers, a layout and a crosshair."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        node = scene.CreateNodeByClass("vtkMRMLSliceNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        scene.AddNode(node)
        node.SetOrientation(orientation)
        node.SetDimensions(200, 150, 1)
        node.SetFieldOfView(80, 60, 1)
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName(name)
        composite.SetSingletonTag(name)
        scene.AddNode(composite)
    return scene


@pytest.fixture
def transform(scene, scans):
    """A transform with a known field, its scans, the moving one below it."""
    from GenRegLogic.mrml.nodes.transforms import setField
    from GenRegLogic.space.margin import withMargin

    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    fixed, moving = scans.volume("CT", FIXED), scans.volume("MR", MOVING, seed=1)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "result")
    setField(node, *withMargin(field(FIXED), FIXED))
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixed.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), moving.GetID())
    moving.SetAndObserveTransformNodeID(node.GetID())
    return node


def stateOf(scene) -> tuple:
    """Everything that a mode may change: layers, slices, layout, crosshair and nodes."""
    from GenRegLogic.mrml.views.layers import ViewsState

    views = ViewsState(scene)
    slices = {
        key: ([m.GetElement(r, c) for r in range(4) for c in range(4)], *rest)
        for key, (m, *rest) in views.slices.items()
    }
    nodes = sorted(
        scene.GetNthNode(n).GetID()
        for n in range(scene.GetNumberOfNodes())
        if not scene.GetNthNode(n).GetAttribute("GenReg.Colors")
    )
    return views.layers, slices, views.layout, views.crosshair, nodes


class MapsWorker:
    """Answers the job "maps" with plain arrays, the job "html" with a page."""

    def __init__(self):
        self.jobs = []

    def submit(self, job, parameters, arrays, listener):
        self.jobs.append((job, parameters, arrays))
        grid = Geometry.from_dict(parameters["fixed"])
        if job == "html":
            self.answer = {"report": {"html": "<!DOCTYPE html>"}, "arrays": {}, "geometries": {}}
        else:
            body = np.zeros(grid.shape, np.uint8)
            body[4:-4, 4:-4, 4:-4] = 1
            made = {
                name: body if name == "body" else np.full(grid.shape, 0.4, np.float32) for name in parameters["want"]
            }
            worst = [
                {"point_lps": [1.0, 2.0, 3.0], "expected_error_mm": 4.0, "reason": "Far off."},
                {"point_lps": [5.0, 2.0, 3.0], "expected_error_mm": 3.0, "reason": "Off."},
            ]
            self.answer = {
                "report": {"worst": worst, "ranges": {}},
                "arrays": made,
                "geometries": dict.fromkeys(made, grid),
            }
        self.listener = listener

    def poll(self):
        self.listener.ended(self.answer)
        return False

    def wait(self, seconds):
        pass


def makeMaps(scene, transform, **options):
    """Compute the maps of a transform: (`MapNodes`, worker, {name: node})."""
    from GenRegLogic.mrml.runs.transformjobs import MapsRun
    from GenRegLogic.mrml.views.maps import MapNodes

    store, worker = MapNodes(scene), MapsWorker()
    run = MapsRun(scene, worker, transform, mapNodes=store, **options)
    run.start()
    return store, worker, run.runToEnd()
