"""python -m sr_hooks."""

import sys

from sr_hooks.cli.app import main

sys.exit(main())
