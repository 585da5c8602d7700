"""sr-hooks new-plugin: the skeleton of a plugin package that works as it is written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from sr_hooks.core import registry as plugins
from sr_hooks.errors import OptionError, PluginError
from sr_hooks.results.result import write_folder

__all__ = ["new_plugin"]

_TEMPLATES = Path(__file__).parent / "skeleton"


def new_plugin(name: str, folder: str | Path = ".") -> Path:
    """Write `sr-hooks-NAME`: an installable package with an analysis of that name, its README and its tests.

    Args:
        name: of the analysis, and so of its command: lower-case letters, digits and hyphens. A leading `sr-hooks-` is
            left out.
        folder: where the package's folder is made.

    Returns:
        The package's folder.

    Raises:
        OptionError: a name that cannot be, or is taken, or a folder that exists.
        ResultError: it cannot be written; then nothing is left.
    """
    name = name.removeprefix("sr-hooks-")
    try:
        plugins.check_name(name)
    except PluginError as error:
        raise OptionError(str(error)) from None
    if name in plugins.contributions("register_analyses"):
        raise OptionError(f"the name {name!r} is taken by {plugins.registry().whose('register_analyses', name)}")
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

    return write_folder(target, fill)


def _filled(template: str, values: dict[str, str]) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"__{key}__", value)
    return text
