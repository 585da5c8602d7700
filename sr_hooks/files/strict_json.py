"""Strict JSON, written and read: NaN and infinities are texts, and too deep nesting is an error of the text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["from_json", "restored", "to_json"]

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: Any, *, indent: int | None = 1) -> str:
    """Strict JSON of a value: NaN and infinities as the texts "NaN", "Infinity", "-Infinity"; `restored` undoes that.

    NumPy's numbers and arrays are written as numbers and lists; anything else that JSON lacks, as its `str`.
    """
    text = json.dumps(_strict(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()  # halves of characters, in names of files, are escaped


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: no JSON, or JSON that is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def restored(value: Any) -> Any:
    """The value with the texts "NaN", "Infinity" and "-Infinity" as the numbers that they stand for."""
    if isinstance(value, str):
        return _NUMBERS.get(value, value)
    if isinstance(value, Mapping):
        return {key: restored(inner) for key, inner in value.items()}
    return [restored(inner) for inner in value] if isinstance(value, list) else value


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _strict(value.tolist())
    return value
