"""Execute the notebooks of the documentation, each in a fresh folder, and store their outputs.

OMP_NUM_THREADS=1 python benchmarks/notebooks.py [NOTEBOOK ...]

A notebook that needs a plugin of this repository says so in a comment, `# pip install ./plugins/NAME`. The plugin is
installed into a folder that only the notebook's kernel sees.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parents[1]
TUTORIALS = REPOSITORY / "docs/tutorials"
_SECONDS = 300  # that one cell may take
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that it has now. Nothing but its cells and outputs is kept."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as installed:
        source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        for name in re.findall(r"^# pip install \./plugins/([\w-]+)$", source, re.MULTILINE):
            _install(name, Path(installed))
        paths = [installed, *filter(None, [os.environ.get("PYTHONPATH")])]
        client = NotebookClient(notebook, timeout=_SECONDS, resources={"metadata": {"path": folder}})
        client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What one cell prints as one output, however many pieces it came in."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and output.output_type == "stream" and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _install(name: str, folder: Path) -> None:
    """Install a plugin of this repository into a folder; nothing is downloaded, and the repository stays as it is."""
    with tempfile.TemporaryDirectory() as copy:
        source = shutil.copytree(
            REPOSITORY / "plugins" / name, Path(copy) / name, ignore=shutil.ignore_patterns("build", "*.egg-info")
        )
        options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(TUTORIALS.glob("*.ipynb")))
    for path in parser.parse_args().notebooks:
        nbformat.write(execute(path), path)
        print(f"executed: {path.name}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
