"""The program of one worker process, started by `sr-hooks grid --jobs N` as `python -m sr_hooks.grid.worker`."""

from __future__ import annotations

import logging
import sys

from sr_hooks.grid.workers import receive_call


def main() -> None:
    logging.basicConfig(format="sr-hooks: %(message)s", level=logging.WARNING)
    receive_call(sys.stdin.buffer)()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
