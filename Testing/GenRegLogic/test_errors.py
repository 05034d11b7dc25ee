"""The exceptions of the engine."""

import pytest

from GenRegLogic.errors import Cancelled, DependencyError, GenRegError, InputError, ResourceError, WorkerError


@pytest.mark.parametrize("kind", [InputError, ResourceError, DependencyError, WorkerError, Cancelled])
def test_every_exception_is_a_genreg_error(kind):
    assert issubclass(kind, GenRegError)
