"""What everything costs on a card: one script, one table, under five minutes, no network.

    python benchmarks/gpu.py [--device cuda] [--quick] [--only "LAM SwinIR light"] [--out gpu_table]

Each row stands alone: a row that fails says why, the others go on, and the exit status is 1. Published sides are
written from the papers' descriptions and run on the same card, as torch is by default (TensorFloat-32 in convolutions);
ours and the floor are float32. Errors are relative L2 distances from an integral of many intervals, each side's of its
own objective. The floor is a forward and a backward of as many gradients in one bare batch, between two events on the
card.

Without BasicSR the rows of EDSR, RCAN, SwinIR and RRDBNet fail, and without spandrel that of HAT; no other needs them.
Writes `gpu.json` and `gpu.md` into the folder of --out after each row. On the CPU one thread is used; "--device cpu
--quick" takes half a minute and shows that every row runs, not how fast.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from gpu_parts.measuring import surroundings
from gpu_parts.rows import rows_of
from gpu_parts.setting import Bench, Row, own_cache

import sr_hooks


def measure(bench: Bench, names: list[str] | None, seconds: float, folder: Path) -> list[Row]:
    """The rows, each with its name and seconds, or with the reason why it failed; written to the folder one by one."""
    rows: list[Row] = []
    facts = {**surroundings(bench.device), "quick": bench.quick}
    begin = time.perf_counter()
    for name, call in rows_of(bench).items():
        if names and name not in names:
            continue
        start = time.perf_counter()
        row: Row = {"row": name}
        if start - begin > seconds:
            row["failed"] = f"no time left of {seconds:g} s"
        else:
            row |= _row(call)
        row["took s"] = time.perf_counter() - start
        rows.append(row)
        print(json.dumps(_rounded(row)), flush=True)
        write(folder, {**facts, "took s": round(time.perf_counter() - begin)}, rows)
    return rows


def _row(call: Any) -> Row:
    try:
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return dict(call())
    except ModuleNotFoundError as error:
        return {"failed": f"the package {str(error.name).split('.')[0]} is not installed"}
    except Exception as error:  # one row's failure is not the others'
        lines = str(error).strip().splitlines() or [""]
        return {"failed": f"{type(error).__name__}: {lines[0][:300]}"}


def write(folder: Path, facts: Mapping[str, Any], rows: list[Row]) -> None:
    """gpu.json and gpu.md, of all rows so far: a run that is ended leaves what it has measured."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1), encoding="utf-8")
    (folder / "gpu.md").write_text(markdown(facts, rows), encoding="utf-8")


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in row.items()}


def markdown(facts: Mapping[str, Any], rows: list[Row]) -> str:
    """The facts in one line, then a table of the LAM rows, and one of each other row; failed rows with their reason."""
    blocks = ["; ".join(f"{key} {value}" for key, value in facts.items())]
    lams = [row for row in rows if "published / automatic" in row]
    for group in [lams, *([row] for row in rows if row not in lams)]:
        if not group:
            continue
        columns = list(group[0])
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in group]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    parser.add_argument("--quick", action="store_true", help="small networks and few images: does every row run?")
    parser.add_argument("--only", action="append", metavar="ROW", help="a row's name; several times for several")
    parser.add_argument(
        "--seconds", type=float, default=280, help="rows that would begin later are left out, as failed"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu_table"), help="folder for gpu.json and gpu.md")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    own_cache()
    try:
        device = sr_hooks.Network(torch.nn.Conv2d(3, 3, 1), scale=1).to(arguments.device).device
    except sr_hooks.SRHooksError as error:
        parser.error(str(error))
    if device.type == "cpu":
        torch.set_num_threads(1)
    bench = Bench(device, arguments.quick)
    unknown = set(arguments.only or ()) - set(rows_of(bench))
    if unknown:
        parser.error(f"no row {sorted(unknown)[0]!r}; there are {', '.join(rows_of(bench))}")
    rows = measure(bench, arguments.only, arguments.seconds, arguments.out)
    print((arguments.out / "gpu.md").read_text(encoding="utf-8"))
    return 1 if any("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
