"""``python -m scanweave`` is the command ``scanweave``."""

import sys

from .cli import main

sys.exit(main())
