"""The command `sr-hooks-usefulness GRID SCORES.csv`: a grid's numbers against scores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sr_hooks.core import text_table
from sr_hooks.errors import SRHooksError
from sr_hooks_usefulness.answer import usefulness

__all__ = ["main"]

_COLUMNS = ("metric", "spearman", "low", "high", "p_holm", "kendall", "pearson")
_COLUMNS += ("spearman_pairs", "kendall_pairs", "pearson_pairs")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and save the result; 0, or 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(prog="sr-hooks-usefulness", description=__doc__)
    parser.add_argument("grid", help="the folder of sr-hooks grid")
    parser.add_argument("scores", help="a CSV with the columns network and score, and image where scores are by image")
    parser.add_argument("--out", default="usefulness_result", help="the folder of the result")
    parser.add_argument("--draws", type=int, default=2000, help="of the bootstrap and the permutations")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    try:
        result = usefulness(arguments.grid, arguments.scores, draws=arguments.draws, seed=arguments.seed)
        folder = result.save(arguments.out)
    except SRHooksError as error:
        print(f"sr-hooks-usefulness: {error}", file=sys.stderr)
        return 2
    print(text_table([{key: row.get(key) for key in _COLUMNS} for row in result.scalars["metrics"]]))
    print(result.verdict)
    print(folder)
    return 0
