"""All speed claims in one table: each analysis against the published procedure and the nearest other library.

    OMP_NUM_THREADS=1 python benchmarks/run.py [--only LAM] [--out table.json]

Every row is one of the other scripts here, in a process of its own: sides interleaved, one thread, its own
seconds. "Their" side is a faithful rendering of the published procedure, or a peer as installed (captum, grad-cam); a
row whose peer or data is missing says so. The floor is a plain forward and input-backward, as often as ours takes a
gradient: of the whole network, and of the window's cone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COLUMNS = ("analysis", "case", "against", "their s", "our s", "ratio", "spread", "their error", "our error")
COLUMNS += ("over the cone's floor", "over the whole floor", "their MiB", "our MiB")


def lam(*more: str) -> list[str]:
    return ["lam.py", "--repeats", "3", *more]


CASES: dict[str, list[list[str]]] = {
    "LAM": [
        lam("--network", "baseline"),
        lam("--network", "baseline", "--precision", "bfloat16"),
        lam("--network", "target"),
        lam("--network", "demo"),
        lam("--network", "baseline", "--peer", "captum"),
        lam("--network", "msrresnet4"),
        lam("--network", "msrresnet4", "--time-alone", "--precision", "bfloat16"),
        lam("--network", "edsr"),
        lam("--network", "edsr", "--time-alone", "--precision", "bfloat16"),
        lam("--network", "swinir", "--time-alone", "--size", "48"),
        lam("--network", "swinir", "--time-alone", "--size", "48", "--precision", "bfloat16"),
        lam("--network", "rcan", "--time-alone", "--size", "32", "--repeats", "1"),
        lam("--network", "rcan", "--time-alone", "--size", "32", "--repeats", "1", "--precision", "bfloat16"),
    ],
    "FAIG": [["faig.py", "--timed-steps", "4", "--images", "6", "--reference", "0"]],
    "DDR": [["ddr.py"]],
    "CSM": [["csm.py", "--side", "64", "--channels", "2"], ["cam.py"]],
    "CEM": [["cem.py", "--block", "16", "--fine", "6", "--share", "40"]],
}


def run(command: list[str]) -> dict[str, Any]:
    """The row that the script's last line holds, or one that says why there is none."""
    script, *flags = command
    done = subprocess.run([sys.executable, str(HERE / script), *flags], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        why = (done.stderr.strip().splitlines() or ["it printed no row"])[-1]
        return {"analysis": script, "case": " ".join(flags), "against": f"did not run: {why}"}
    row: dict[str, Any] = json.loads(lines[-1])
    if script == "csm.py":
        row |= {"analysis": "CSM", "case": f"{row['network']}, LR {row['lr']}, {row['ablations']} ablations"}
        row |= {"against": "a network rebuilt for every tap, whole forwards", "their s": row["whole s"]}
        row |= {"our s": row["ours s"], "ratio": row["ratio to whole"]}
    if script == "cem.py":
        row |= {"analysis": "CEM", "case": f"{row['network']}, LR {row['lr']}, {row['plain forwards']} forwards"}
        row |= {"against": "one by one, whole images", "their s": row["plain s"], "our s": row["ours s"]}
        row |= {"our error": f"{row['largest difference dB']:g} dB"}
    return {**row, "command": " ".join(command)}


def markdown(rows: list[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, list):
            return " to ".join(f"{v:g}" for v in value)
        return "" if value is None else str(value)

    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CASES), action="append")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    arguments = parser.parse_args()
    rows = []
    for analysis in arguments.only or CASES:
        for command in CASES[analysis]:
            rows.append(run(command))
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(rows, indent=1))
    print(markdown(rows))


if __name__ == "__main__":
    main()
