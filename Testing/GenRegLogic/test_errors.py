"""The kinds of failure."""

import pytest

from GenRegLogic.errors import Cancelled, GenRegError, InputError, ResourceError


@pytest.mark.parametrize("kind", [InputError, ResourceError, Cancelled])
def test_a_caller_can_catch_every_kind_at_once(kind):
    with pytest.raises(GenRegError, match="what is wrong"):
        raise kind("what is wrong")
