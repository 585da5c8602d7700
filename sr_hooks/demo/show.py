"""What `sr-hooks demo` runs: LAM, FAIG and DDR of the demo network, saved as figures and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sr_hooks.analyses.ddr.analysis import DdrResult, ddr
from sr_hooks.analyses.faig.analysis import FaigResult, faig
from sr_hooks.analyses.faig_verify.analysis import VerifyResult, verify
from sr_hooks.analyses.lam.analysis import lam
from sr_hooks.core.text import text_table
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result
from sr_hooks.results.writing import check_folder, write_folder

__all__ = ["TABLE", "WINDOWS", "run_demo"]

TABLE = "table.txt"
WINDOWS = (("cat", (84, 64, 32)), ("coffee", (164, 148, 32)), ("rocket", (84, 168, 32)))


def run_demo(out: Path, *, device: str = "cpu") -> tuple[str, dict[str, Result]]:
    """Run LAM of three windows on the baseline, FAIG from baseline to target, and DDR of both; save.

    Returns:
        The table of the maps as text, and the results by the names of their folders in `out`.

    Raises:
        ResultError: the folder cannot be written; nothing is left behind.
    """
    check_folder(out, marker=TABLE)
    networks = {state: demo_network(state) for state in ("baseline", "target")}
    for network in networks.values():
        network.to(device)
    files = {path.stem: path for path in photographs()}
    rows: list[dict[str, Any]] = []
    results: dict[str, Result] = {}
    for name, window in WINDOWS:
        network = networks["baseline"]
        result = lam(network, downsample(read_image(files[name]), network.scale), window=window)
        result.provenance["input_file"] = files[name].name
        results[f"lam_{name}"] = result
        rows.append({"photograph": name, "window": ",".join(map(str, window)), **result.headline()})

    filters, check = _faig(networks, files.values())
    results |= {"faig": filters, "faig_verify": check}
    results |= {f"ddr_{state}": _ddr(network, files.values()) for state, network in networks.items()}
    table = text_table(rows)

    def fill(part: Path) -> None:
        for name, shown in results.items():
            shown.save(part / name)
        (part / TABLE).write_text(table + "\n", encoding="utf-8")

    write_folder(out, fill, marker=TABLE)
    return table, results


def _faig(networks: Mapping[str, Network], photos: Iterable[Path]) -> tuple[FaigResult, VerifyResult]:
    """Rank filters on the left halves of the photographs, and mask them on the right halves."""
    images = [read_image(photo) for photo in photos]
    left, right = ([image[..., 64:192, part] for image in images] for part in (slice(0, 128), slice(128, 256)))
    result = faig(
        networks["baseline"], networks["target"], images=left, degradations=("blur:4", "noise:25.5"), steps=20
    )
    return result, verify(result, right, tops=(0.01, 0.1), random_seeds=2, input_points=0)


def _ddr(network: Network, photos: Iterable[Path]) -> DdrResult:
    """DDR of every block, on patches of 64x64, without t-SNE (which needs scikit-learn)."""
    images = [read_image(photo) for photo in photos]
    return ddr(network, images, layers=["body.*.conv1", "auto"], patch=64, patches=64, tsne=0)
