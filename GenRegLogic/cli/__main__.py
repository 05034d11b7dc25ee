"""`python -m GenRegLogic.cli`: the command where it isn't installed, as inside an application's Python."""

import sys

from .main import main

sys.exit(main())
