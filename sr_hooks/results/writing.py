"""Write a folder or a file whole or not at all, replace it without a moment that has neither, and clean up.

Unfinished work lies beside its target, under a name that tells whose it is: `.NAME.sr-hooks-OWNER-RANDOM.part`, or
`.old` for what is being replaced. OWNER names a process of a machine. Only names of this form are ever removed, and
only when their process has ended.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from socket import gethostname

from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import is_file, is_folder

__all__ = ["check_folder", "is_alive", "is_remains", "owner", "recover", "sweep", "write_file", "write_folder"]

_NAME = re.compile(r"\.(?P<target>.+)\.sr-hooks-(?P<owner>[0-9a-f]{10}-\d+-\d+)-[0-9a-f]{8}\.(?P<kind>part|old)", re.S)
_DAY = 86400.0  # seconds after which what another machine left is taken for abandoned
_LONGEST_NAME = 180  # bytes of a name; unfinished work has a longer one, and file systems allow 255
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_AT_FDCWD = -100


# Owners


def owner() -> str:
    """This process, as the names of its unfinished files and the index of a run name it."""
    return f"{_machine()}-{os.getpid()}-{_began(os.getpid()) or 0}"


def is_alive(name: str) -> bool | None:
    """Whether the process of an `owner()` runs; None where that cannot be known: it was on another machine."""
    machine, pid, began = name.split("-")
    if machine != _machine():
        return None
    now = _began(int(pid))
    if now is not None:
        return now == int(began)
    if is_folder("/proc/self"):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


@lru_cache(maxsize=1)
def _machine() -> str:
    """Ten digits for this machine since it was started, and for the container in which process numbers count."""
    parts = [gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return sha256("|".join(parts).encode()).hexdigest()[:10]


def _began(pid: int) -> int | None:
    """When a process began, in the kernel's ticks; None where it has ended or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_remains(name: str, target: str) -> bool:
    """Whether a file name is one of unfinished work on `target`."""
    match = _NAME.fullmatch(name)
    return match is not None and match["target"] == target


def _work_name(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.sr-hooks-{owner()}-{uuid.uuid4().hex[:8]}.{kind}")


def sweep(folder: Path, *, target: str | None = None, held: bool = False) -> None:
    """Finish or remove what dead processes left in a folder: of one target, or of all and also in folders below.

    Args:
        held: the caller holds the only right to write the target, so that any other process on it has ended.
    """
    paths = sorted(folder.glob(".*") if target is not None else folder.rglob(".*"))
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None or (target is not None and match["target"] != target) or path.is_symlink():
            continue
        if held or _is_abandoned(path, match["owner"]):
            _settle(path, match["target"], match["kind"])


def _is_abandoned(path: Path, name: str) -> bool:
    alive = is_alive(name)
    if alive is not None:
        return not alive
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


def _settle(path: Path, target: str, kind: str) -> None:
    """An old result without a new one goes back to its name; anything else that is unfinished is removed."""
    goal = path.with_name(target)
    if kind == "old" and not os.path.lexists(goal):
        try:
            path.replace(goal)
        except OSError:
            return
    else:
        _remove(path)


def recover(folder: Path) -> Path:
    """Where the content of a folder is: there, or aside where its replacement was cut off between two renames."""
    if os.path.lexists(folder):
        return folder
    try:
        hidden = [path for path in folder.parent.glob(".*") if is_remains(path.name, folder.name)]
        aside = [path for path in hidden if path.suffix == ".old"]
    except (OSError, ValueError):
        return folder
    return max(aside, key=lambda path: path.stat().st_mtime) if aside and not os.path.lexists(folder) else folder


# Writing


def check_folder(folder: str | Path, *, marker: str) -> Path:
    """Refuse early what `write_folder` would refuse, before anything costly is computed.

    A folder with something in it may be replaced only if it holds `marker`, which says that we wrote it.
    """
    folder = Path(folder)
    try:
        return _checked(folder, marker)
    except (OSError, ValueError) as error:
        raise ResultError(f"cannot write to {folder}: {_reason(error)}") from error


def _checked(folder: Path, marker: str) -> Path:
    if "\0" in str(folder):
        raise ValueError("its name has a null character")
    if len(os.fsencode(folder.name)) > _LONGEST_NAME:
        raise OSError(errno.ENAMETOOLONG, f"its name is longer than {_LONGEST_NAME} bytes")
    if folder.is_symlink() and not folder.exists():
        raise ResultError(f"cannot write to {folder}: it is a link to nothing")
    if folder.exists() and not folder.is_dir():
        raise ResultError(f"cannot write to {folder}: it is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not is_file(folder / marker):
        raise ResultError(f"cannot write to {folder}: it holds other files; give a new or empty folder")
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise ResultError(f"cannot write to {folder}: {above} is a file, not a folder")
    writable = folder.absolute().parent if folder.exists() else above
    if not os.access(writable, os.W_OK | os.X_OK) or (folder.exists() and not os.access(folder, os.W_OK | os.X_OK)):
        raise ResultError(f"cannot write to {folder}: no permission to write there")
    return folder


def write_folder(folder: str | Path, fill: Callable[[Path], None], *, marker: str) -> Path:
    """Fill a hidden folder beside `folder`, sync it to disk, then let it take the place of `folder`.

    At every instant a reader finds the old content or the new one, wherever the process dies: old and new exchange
    their names at once where the system can do that; elsewhere `recover` tells where the old one is.
    """
    folder = check_folder(folder, marker=marker)
    part = None
    try:
        target = folder.resolve() if folder.is_symlink() else folder
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target=target.name)
        part = _work_name(target, "part")
        part.mkdir()
        fill(part)
        _sync_tree(part)
        _take_place(part, target)
        _sync(target.parent)
    except OSError as error:
        raise ResultError(f"cannot write to {folder}: {_reason(error)}") from error
    finally:
        if part is not None:
            _remove(part)
    return folder


def _take_place(part: Path, folder: Path) -> None:
    """Give `part` the name of `folder`. What had that name goes."""
    if not folder.exists():
        part.replace(folder)
    elif not _exchanged(part, folder):
        old = _work_name(folder, "old")
        folder.replace(old)
        try:
            part.replace(folder)
        finally:
            if not os.path.lexists(folder):
                old.replace(folder)
        _remove(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names at once (Linux); False where the system or its file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file beside `path`, sync it to disk, then rename it to `path`.

    Raises:
        ResultError: the file cannot be written; nothing is left behind.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _work_name(path, "part")
        write(part)
        _sync(part)
        part.replace(path)
        _sync(path.parent)
    except (OSError, ValueError) as error:
        raise ResultError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        if part is not None:
            _remove(part)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _remove(path: Path) -> None:
    with suppress(OSError, ValueError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # the file system cannot sync folders
            raise
    finally:
        os.close(descriptor)
