"""The kinds of failure."""

import pytest

from GenRegLogic.errors import Cancelled, DependencyError, GenRegError, InputError, ResourceError, WorkerError


@pytest.mark.parametrize("kind", [InputError, ResourceError, DependencyError, WorkerError, Cancelled])
def test_a_caller_can_catch_every_kind_at_once(kind):
    with pytest.raises(GenRegError, match="what is wrong"):
        raise kind("what is wrong")
