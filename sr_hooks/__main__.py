"""python -m sr_hooks."""

import sys

from sr_hooks.cli import main

sys.exit(main())
