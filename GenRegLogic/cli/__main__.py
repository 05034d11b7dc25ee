"""`python -m GenRegLogic.cli`: runs `genreg` where the command is not installed, as inside an application's Python."""

import sys

from .main import main

sys.exit(main())
