"""Import other people's code: a file of a repository with its packages, and constructors with their arguments."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.core.torch_errors import without_cuda
from sr_hooks.errors import NetworkError, nearest

__all__ = ["Settings", "construct", "list_arguments", "module_by_name", "module_from_file", "named_in_module"]

_LEVELS = 5  # folders above a file in which the packages that it imports are looked for
_MARKS = (".git", "README.md", "setup.py", "pyproject.toml", "requirements.txt", "LICENSE")  # of a repository's folder
_SETTINGS = ("args", "arg", "opt", "opts", "option", "options", "config", "cfg", "conf", "params", "hparams", "para")


class Settings(dict[str, Any]):
    """A mapping whose values are attributes too, as constructors take them that were written for argparse."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{name} is not among the settings given ({', '.join(self) or 'none'})") from None


@contextmanager
def module_from_file(path: Path) -> Iterator[types.ModuleType]:
    """The module in a Python file, which can import what lies beside and above it, as in its repository.

    The repository stays importable inside the context, since constructors import too.

    Empty packages replace those around the file, so that relative imports work and no package's own code runs.
    Packages of the repository come before installed packages of the same name, which are restored afterwards.

    Raises:
        NetworkError: no such file, or it cannot be imported.
    """
    if not path.is_file():
        raise NetworkError(f"no file {path}")
    path = path.resolve()
    root, dotted = _package_of(path)
    roots = _roots(path, root)
    with _as_repository(path, roots):
        for name, folder in roots.items():
            if (folder / name).is_dir() and not (folder / name / "__init__.py").is_file():
                _add_empty_packages(folder, f"{name}.any")  # an installed package of that name would come before it
        _add_empty_packages(root, dotted)
        spec = importlib.util.spec_from_file_location(dotted, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[dotted] = module
        try:
            with _tolerant_registries(), nullcontext() if torch.cuda.is_available() else without_cuda():
                spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise NetworkError(f"{path} cannot be imported: {_message(error)}") from error
        yield module


def module_by_name(name: str) -> types.ModuleType:
    """An importable module, from the working directory too.

    Raises:
        NetworkError: it cannot be imported.
    """
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.append(here)
    try:
        with _tolerant_registries():
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise NetworkError(f"cannot import {name}: {_message(error)}") from None
    finally:
        if added:
            sys.path.remove(here)


def named_in_module(module: types.ModuleType, name: str, where: str) -> Any:
    """What a module calls `name`: a class, a function that builds a network, or a network.

    Raises:
        NetworkError: there is none; with the nearest names of networks.
    """
    value = getattr(module, name, None)
    if value is None:
        classes = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, nn.Module)]
        raise NetworkError(f"{where} has no {name}; {nearest(name, classes)}")
    return value


def construct(build: Any, arguments: Mapping[str, Any] | None) -> Any:
    """Call a class or a function with the arguments.

    Mappings among them are `Settings`. Where it takes one object of settings (args, opt, config, ...) and no argument
    is called so, they are all put into one.
    """
    if isinstance(build, nn.Module):
        return build
    values = {name: _as_settings(value) for name, value in (arguments or {}).items()}
    name = _takes_settings(build)
    if name is not None and name not in values:
        known = inspect.signature(build).parameters
        beside = {key: value for key, value in values.items() if key in known}
        return build(**{name: Settings({k: v for k, v in values.items() if k not in beside})}, **beside)
    return build(**values)


def _as_settings(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Settings({key: _as_settings(item) for key, item in value.items()})
    return value


def _takes_settings(build: Any) -> str | None:
    """The parameter without a default that is called as settings are, where it is the only one."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return None
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in named]
    return needed[0] if len(needed) == 1 and needed[0].lower() in _SETTINGS else None


def _message(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{text}. Install what it needs ({error.name.split('.')[0]}), or run from the folder that holds it"
    if isinstance(error, SystemExit):
        return f"{text}. It ends the program when imported: guard its script by if __name__ == '__main__'"
    return text


def _package_of(path: Path) -> tuple[Path, str]:
    """The folder above the outermost package that the file stands in, and the file's dotted name from there."""
    names, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    if len(names) == 1 and _imports_relatively(path):  # a package without an __init__.py
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def _imports(path: Path) -> Iterator[ast.Import | ast.ImportFrom | ast.Call]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Call)):
            yield node


def _imported_by_call(call: ast.Call) -> list[str]:
    """The name in `__import__("ops.OSA")` and `importlib.import_module("ops." + name)`; [] for other calls."""
    function = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if function not in ("__import__", "import_module") or not call.args:
        return []
    texts = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    names = [text.partition(".")[0] for text in texts[:1] if isinstance(text, str)]
    return [name for name in names if name.isidentifier()]


def _imports_relatively(path: Path) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in _imports(path))


def _roots(path: Path, root: Path) -> dict[str, Path]:
    """Top-level names that the file imports and that its repository has: name to the folder that holds it."""
    imported: list[str] = []
    for node in _imports(path):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            imported.append(node.module)
        elif isinstance(node, ast.Call):
            imported += _imported_by_call(node)
    folders = [path.parent, root, *path.parents[1 : 1 + _LEVELS]]
    folders_by_name: dict[str, Path] = {}
    for name in dict.fromkeys(text.split(".")[0] for text in imported):
        if name in sys.stdlib_module_names or name == "torch":
            continue
        for folder in folders:
            if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
                folders_by_name[name] = folder
                break
    return folders_by_name


@contextmanager
def _as_repository(path: Path, roots: Mapping[str, Path]) -> Iterator[None]:
    """The path as inside the repository, no program's arguments, its own packages before others' of the same names.

    None of its modules stays importable after, so that two repositories with a `common.py` each do not meet.
    """
    folders = list(dict.fromkeys([str(path.parent), *map(str, roots.values())]))
    outer = _outer_folders(path)
    own = set(roots) | {_package_of(path)[1].split(".")[0]}
    aside = {name: module for name, module in sys.modules.items() if _belongs(name, own)}
    before_path, before_argv, before = list(sys.path), sys.argv, set(sys.modules)
    for name in aside:
        del sys.modules[name]
    sys.path[:] = [*folders, *before_path, *outer]
    sys.argv = [str(path)]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.argv = before_path, before_argv
        for name, module in list(sys.modules.items()):
            if _belongs(name, own) or (name not in before and _lies_in(module, outer)):
                del sys.modules[name]
        sys.modules.update(aside)


def _belongs(name: str, own: set[str]) -> bool:
    return name.split(".")[0] in own and name != "__main__"


def _lies_in(module: Any, folders: Sequence[str]) -> bool:
    """Whether a module is from a file of these folders, and not from a package installed there."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or "site-packages" in file:
        return False
    return any(file.startswith(folder + os.sep) for folder in folders)


def _outer_folders(path: Path) -> list[str]:
    """The folders above the file, up to that of its repository, from which names made at run time are imported."""
    folders: list[str] = []
    for folder in path.parents[1:_LEVELS]:
        folders.append(str(folder))
        if any((folder / mark).exists() for mark in _MARKS):
            return folders
    return folders[:1]


def _add_empty_packages(root: Path, dotted: str) -> None:
    """Register empty packages around a file, which find the modules in their folders."""
    names = dotted.split(".")[:-1]
    for count in range(1, len(names) + 1):
        package = types.ModuleType(".".join(names[:count]))
        package.__path__ = [str(root.joinpath(*names[:count]))]
        sys.modules[package.__name__] = package


@contextmanager
def _tolerant_registries() -> Iterator[None]:
    """A file that registers an architecture which BasicSR has already is read all the same."""
    room = sys.modules.get("basicsr.utils.registry")
    kind = getattr(room, "Registry", None)
    if kind is None or not hasattr(kind, "_do_register"):
        yield
        return
    before = kind._do_register

    def register(self: Any, name: str, *rest: Any, **more: Any) -> None:
        if name not in getattr(self, "_obj_map", {}):
            before(self, name, *rest, **more)

    kind._do_register = register
    try:
        yield
    finally:
        kind._do_register = before


def list_arguments(arguments: Mapping[str, Any] | Sequence[Any] | None) -> str:
    """Arguments for messages."""
    items = arguments.items() if isinstance(arguments, Mapping) else ()
    return ", ".join(f"{k}={v!r}" for k, v in items) or "no arguments"
