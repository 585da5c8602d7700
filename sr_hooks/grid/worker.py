"""python -m sr_hooks.grid.worker: one of the processes of `sr-hooks grid --jobs N`; not for people."""

from __future__ import annotations

import logging
import sys

import torch

from sr_hooks.grid.folder import Place
from sr_hooks.grid.run import work
from sr_hooks.grid.workers import received


def main() -> None:
    logging.basicConfig(format="sr-hooks: %(message)s", level=logging.WARNING)
    plan, folder, since = received(sys.stdin.buffer)
    torch.set_num_threads(plan.threads)
    work(plan, Place(folder), since=since)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
