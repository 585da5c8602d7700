"""How processes of tests end: by themselves after a distributed run, or at Ctrl-C."""

from __future__ import annotations

import atexit
import os
import signal
import sys

from torch import distributed


def leave() -> None:
    """Leave the process group and end this process with status 0, after its exit functions have run.

    A thread of gloo may outlive the group. The interpreter's own end then aborts in about one process of ten
    ("terminate called without an active exception"), watched or not: this end does not reach that place.
    """
    distributed.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def hear_ctrl_c() -> None:
    """For `preexec_fn`: the process ends at SIGINT, also where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
