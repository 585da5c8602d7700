"""Read YAML from a file, from a command-line flag or from one token, with one set of error messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sr_hooks.errors import OptionError, SRHooksError

__all__ = ["parse_yaml", "read_yaml", "value_or_text"]


def read_yaml(path: str | Path, *, name: str = "", error: type[SRHooksError] = OptionError) -> Any:
    """The content of a YAML file.

    Args:
        path: the file.
        name: what messages call the file, e.g. "the grid file".
        error: the class of the error that is raised.

    Raises:
        SRHooksError: the file cannot be read, or holds no sound YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise error(f"cannot read {f'{name} {path}'.strip()}: {problem.strerror or problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise error(f"{path} is not a sound YAML file: {str(problem).splitlines()[0]}") from None


def parse_yaml(text: str, *, name: str) -> Any:
    """The value of a YAML text; `name` is what messages call the text, e.g. "--arguments".

    Raises:
        OptionError: the text is no sound YAML.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise OptionError(f"{name} is not sound YAML: {str(problem).splitlines()[0]}") from None


def value_or_text(text: str) -> Any:
    """The value of a YAML text, or the text itself where it is no sound YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
