"""The program of one worker process, started by `sr-hooks grid --jobs N` as `python -m sr_hooks.grid.worker`."""

from __future__ import annotations

import logging
import sys

import torch

from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.run import run_worker
from sr_hooks.grid.workers import receive_plan


def main() -> None:
    logging.basicConfig(format="sr-hooks: %(message)s", level=logging.WARNING)
    plan, path, since = receive_plan(sys.stdin.buffer)
    torch.set_num_threads(plan.threads)
    run_worker(plan, GridFolder(path), since=since)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
