"""Where a command puts its results: nothing is overwritten unasked, and several results appear together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import is_file
from sr_hooks.results.result import RESULT_FILE, Result
from sr_hooks.results.writing import check_folder, write_folder

__all__ = ["free_folder", "record_of", "save_results", "where"]


def free_folder(folder: Path, *, overwrite: bool, marker: str = RESULT_FILE) -> Path:
    """The folder that a command writes to: `folder`, or `folder_2`, `folder_3`, ... where that holds results.

    Args:
        folder: as the user named it.
        overwrite: whether results in it are replaced.
        marker: the file by which results of the command are known.

    Raises:
        ResultError: the folder cannot be written, or holds other files.
    """
    held = _held(folder, marker)
    if overwrite or held is None:
        return check_folder(folder, marker=held or marker)
    number = 2
    while _is_taken(numbered := folder.with_name(f"{folder.name}_{number}")):
        number += 1
    return check_folder(numbered, marker=marker)


def _is_taken(folder: Path) -> bool:
    try:
        return folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir())))
    except OSError as error:
        raise ResultError(f"cannot write to {folder}: {error.strerror or error}") from None


def _held(folder: Path, marker: str) -> str | None:
    """A file, relative to the folder, by which results are known; None where it holds none, or anything else too."""
    if is_file(folder / marker):
        return marker
    try:
        inside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except (OSError, ValueError):
        return None
    held = [f"{name}/{RESULT_FILE}" for name in inside if is_file(folder / name / RESULT_FILE)]
    return held[0] if held and len(held) == len(inside) else None


def save_results(results: Sequence[tuple[str, Result]], wanted: Path, *, overwrite: bool) -> tuple[Path, list[Path]]:
    """Save one result in a folder, several in folders of their names below it. All appear at once, or none.

    The folder is chosen now, as `free_folder` does, since another process may have made one meanwhile.

    Returns:
        The folder, and the folder of each result.
    """
    out = free_folder(wanted, overwrite=overwrite)
    marker = _held(out, RESULT_FILE) or RESULT_FILE
    several = len(results) > 1
    if not several and marker == RESULT_FILE:
        results[0][1].save(out)
        return out, [out]

    def fill(part: Path) -> None:
        for name, result in results:
            result.save(part / name if several else part)

    write_folder(out, fill, marker=marker)
    return out, [out / name if several else out for name, _ in results]


def where(out: Path, wanted: Path) -> str:
    """The folder for people: with a word where it is not the one that was named."""
    return str(out) if out == wanted else f"{out} ({wanted} holds results; --overwrite replaces them)"


def record_of(result: Result, folder: Path) -> dict[str, Any]:
    """A saved result for programs: its folder and files, numbers, verdict and checks."""
    files = {path.name: str(path.absolute()) for path in sorted(folder.iterdir()) if path.is_file()}
    return {
        "folder": str(folder.absolute()),
        "files": files,
        "analysis": result.analysis,
        "headline": dict(result.headline()),
        "verdict": result.verdict,
        "checks": None if result.card is None else {"word": result.card.word, "overall": result.card.overall},
    }
