"""The commands `plugins`, which lists what is installed, and `new-plugin`, which writes a package that works."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from sr_hooks.errors import OptionError, PluginError

__all__ = ["add_new_plugin_arguments", "add_plugins_arguments", "new_plugin"]

_TEMPLATES = Path(__file__).parent / "skeleton"


def add_plugins_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks plugins`."""
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(command=_plugins)


def _plugins(arguments: argparse.Namespace) -> None:
    from sr_hooks.cli.analysis import usable_analyses
    from sr_hooks.core.registry import registry

    usable_analyses()  # an analysis whose options cannot be flags is disabled here, and listed so
    listing = registry().listing()
    if arguments.json:
        print(json.dumps(listing, indent=1))
        return
    for entry in listing:
        print(f"{entry['plugin']}  ({entry['distribution']} {entry['version']})")
        for hook, names in entry["contributes"].items():
            print(f"    {hook.replace('_', ' ')}: {', '.join(names)}")
        for fault in entry["faults"]:
            print(f"    error: {fault}")


def add_new_plugin_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `sr-hooks new-plugin`."""
    command.add_argument("name", metavar="NAME", help="of the analysis: lower-case letters, digits and hyphens")
    command.add_argument("--folder", type=Path, default=Path(), help="where sr-hooks-NAME is made (default: here)")
    command.set_defaults(command=_new_plugin)


def _new_plugin(arguments: argparse.Namespace) -> None:
    folder = new_plugin(arguments.name, arguments.folder)
    print(f"written: {folder}")
    print(f"next:    pip install -e {folder} && python -m pytest {folder}")
    print(f"then:    sr-hooks {folder.name.removeprefix('sr-hooks-')} --help")


def new_plugin(name: str, folder: str | Path = ".") -> Path:
    """Write `sr-hooks-NAME`: an installable package with an analysis of that name, its README and its tests.

    Args:
        name: of the analysis and its command: lower-case letters, digits and hyphens. A leading `sr-hooks-` is dropped.
        folder: where the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        OptionError: the name is not valid or is taken, or the package's folder exists.
        ResultError: the package cannot be written; then nothing is left.
    """
    from sr_hooks.core.registry import check_name, registry
    from sr_hooks.results.result import RESULT_FILE
    from sr_hooks.results.writing import write_folder

    name = name.removeprefix("sr-hooks-")
    try:
        check_name(name)
    except PluginError as error:
        raise OptionError(str(error)) from None
    if name in registry().contributions("register_analyses"):
        raise OptionError(f"the name {name!r} is taken by {registry().whose('register_analyses', name)}")
    module = "sr_hooks_" + name.replace("-", "_")
    if importlib.util.find_spec(module) is not None:
        raise OptionError(f"a module {module} is installed already: choose another name than {name!r}")
    target = Path(folder) / f"sr-hooks-{name}"
    if target.exists() or target.is_symlink():
        raise OptionError(f"{target} exists already, and nothing is overwritten: choose another name or folder")
    words = name.replace("-", " ")
    values = {"NAME": name, "MODULE": module, "TITLE": words.capitalize(), "CLASS": words.title().replace(" ", "")}
    files = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"{module}.py": "module.py.txt",
        f"tests/test_{name.replace('-', '_')}.py": "test.py.txt",
    }

    def fill(part: Path) -> None:
        (part / "tests").mkdir()
        for path, template in files.items():
            (part / path).write_text(_filled(template, values), encoding="utf-8")

    return write_folder(target, fill, marker=RESULT_FILE)


def _filled(template: str, values: dict[str, str]) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"__{key}__", value)
    return text
