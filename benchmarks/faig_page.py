"""Make the table and the pictures of docs/faig.md from results of `sr-hooks faig` and `sr-hooks faig-verify`.

python benchmarks/faig_page.py --faig FOLDER --verify FOLDER --out docs
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image

import sr_hooks

DPI = 85


def save_small(figure: Any, path: Path) -> None:
    """A PNG, or where that is larger than 200 KB a JPEG, at the best quality that is not."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    picture = Image.open(buffer).convert("RGB")
    for suffix, options in ((".png", {"optimize": True}), *((".jpg", {"quality": q}) for q in range(90, 40, -5))):
        out = path.with_suffix(suffix)
        picture.save(out, **options)
        if out.stat().st_size <= 200_000:
            print(f"{out.name}: {out.stat().st_size} bytes {options}")
            return
        out.unlink()
    raise SystemExit(f"{path} is larger than 200 KB")


def markdown(rows: list[dict[str, Any]], inputs: list[str]) -> str:
    """On every input the PSNR in dB, and what masking costs with its interval."""
    lines = ["| filters | for | top | " + " | ".join(inputs) + " |", "|" + "---|" * (3 + len(inputs))]
    for row in rows:
        cells = [f"{row[f'{name} PSNR']}, lost {row[f'{name} lost']}" for name in inputs]
        lines.append("| " + " | ".join([row["filters"], row["for"], row["top"], *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faig", type=Path, required=True)
    parser.add_argument("--verify", type=Path, required=True)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    save_small(sr_hooks.load(arguments.faig).figure(), arguments.out / "faig")
    proof = sr_hooks.load(arguments.verify)
    proof.arrays.pop("examples", None)
    save_small(proof.figure(), arguments.out / "faig_masking")
    save_small(sr_hooks.load(arguments.demo / "faig_verify").figure(), arguments.out / "faig_demo")
    for state in ("target", "baseline"):
        means = proof.arrays[f"{state}_psnr"].mean(axis=1)
        print(f"{state}: " + ", ".join(f"{n} {m:.2f}" for n, m in zip(proof.scalars["columns"], means, strict=True)))
    print(markdown(proof.table(), proof.scalars["columns"]))
    print(proof.verdict)


if __name__ == "__main__":
    main()
