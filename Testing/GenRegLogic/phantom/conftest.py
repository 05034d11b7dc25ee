"""The phantom pair at full size, which takes ten seconds to make."""

import pytest

from GenRegLogic.phantom.scans import make_pair


@pytest.fixture(scope="session")
def full_pair():
    """The default pair, also that of the demo."""
    return make_pair(seed=0)
