"""Attack sr_hooks: changed networks, spoilt files, nonsense in options, and kills at random instructions.

    python benchmarks/attack.py [--quick] [--seed 0] [--only changes files options kills]

In full some 15 minutes of one CPU core, with --quick one minute. Prints the number of cases of each class that were
tried and that were survived, and each one that was not, with what is needed to see it again. Exit status 1 if there is
any.

- *changes*: a network is changed between two calls of LAM, in one to four ways at once. Survived: the map with the cone
  is the map of the whole network as it is now.
- *files*: results, checkpoints, caches, images and YAML files with flipped, lost, added and moved bytes, or replaced by
  pipes and devices. Survived: read as it was, or refused in one line, within 20 seconds.
- *options*: option blocks and command lines that hypothesis makes from the schemas of all analyses. Survived: taken, or
  refused in one line of less than 1,000 characters.
- *kills*: a watched run, and a grid, end at a random line of our code as SIGKILL ends them. Survived: all results that
  are listed can be read, nothing of others is gone, and the next run ends with the results of an undisturbed one.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.attacks import changes, files, kills, options
from benchmarks.attacks.outcome import Outcome

CLASSES: dict[str, tuple[Callable[[int, int], Iterator[Outcome]], int, int]] = {
    "changes": (changes.attack, 240, 20),
    "files": (files.attack, 240, 60),
    "options": (options.attack, 600, 100),
    "kills": (kills.attack, 64, 6),
}
"""Name to attack, number of cases in full, and with --quick."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(CLASSES), default=list(CLASSES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sr_hooks").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    survived_all = True
    print("class     kind                     tried  survived  seconds")
    for name in arguments.only:
        attack, full, quick = CLASSES[name]
        start, kinds = time.monotonic(), {}
        for outcome in attack(quick if arguments.quick else full, arguments.seed):
            tried, survived = kinds.get(outcome.kind, (0, 0))
            kinds[outcome.kind] = tried + 1, survived + (not outcome.failure)
            if outcome.failure:
                survived_all = False
                print(f"NOT SURVIVED  {name}: {outcome.case}: {outcome.failure[:600]}", flush=True)
        for kind, (tried, survived) in sorted(kinds.items()):
            print(f"{name:9s} {kind:24s} {tried:5d}  {survived:8d}")
        tried, survived = (sum(numbers) for numbers in zip(*kinds.values(), strict=True))
        print(f"{name:9s} {'all':24s} {tried:5d}  {survived:8d}  {time.monotonic() - start:7.0f}", flush=True)
    return 0 if survived_all else 1


if __name__ == "__main__":
    sys.exit(main())
