"""The booted host, an empty scene for each test, and a module for testing it."""

from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy" / "Toy.py"


@pytest.fixture(scope="session")
def host():
    """The test host, booted."""
    import host

    reason = host.available()
    if reason is not None:
        pytest.skip(reason)
    host.boot()
    return host


@pytest.fixture(autouse=True)
def emptyScene(request):
    """An empty scene before and after each test that uses the host; unhandled errors are raised."""
    if "host" not in request.fixturenames:
        yield
        return
    host = request.getfixturevalue("host")
    host.resetScene()
    yield
    try:
        host.raiseErrors()
    finally:
        host.resetScene()


@pytest.fixture
def panel(host):
    """The toy module's panel, opened."""
    module = host.loadModule(str(TOY))
    yield host.openWidget(module)
    host.closeWidget(module)


@pytest.fixture
def addVolume(host):
    """Adds a small scalar volume of that name."""
    import numpy as np
    import slicer

    def add(name="Volume"):
        array = np.zeros((20, 24, 28), np.float32)
        array[5:15, 6:18, 7:21] = 100
        return slicer.util.addVolumeFromArray(array, name=name)

    return add
