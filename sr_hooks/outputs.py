"""The image among what a network returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from sr_hooks.errors import NetworkError

__all__ = ["Selector", "pick_image"]

Selector = int | str | Callable[[Any], torch.Tensor]
"""An index, a key, or a function of what the network returns."""


def pick_image(out: Any, selector: Selector | None, name: str, *, frames: bool = False) -> torch.Tensor:
    """The (N,C,H,W) image that a network called `name` returned; of one over `frames` also (N,T,C,H,W).

    Raises:
        NetworkError: several outputs and no selector, a selector that picks nothing, or no image.
    """
    if selector is not None:
        try:
            out = selector(out) if callable(selector) else out[selector]
        except (KeyError, IndexError, TypeError) as error:
            raise NetworkError(f"{name} returned {_kind(out)}; output={selector!r} is not in it") from error
    if not isinstance(out, torch.Tensor):
        raise NetworkError(
            f"{name} returned {_kind(out)}, not one image: say which with Network(module, output=0), "
            "an index, a key or a function"
        )
    if out.ndim != 4 and not (frames and out.ndim == 5):
        wanted = "(N,T,C,H,W) or (N,C,H,W)" if frames else "(N,C,H,W)"
        raise NetworkError(f"{name} returned a tensor of shape {tuple(out.shape)}, not {wanted}")
    return out


def _kind(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with keys {', '.join(map(repr, list(value)[:6]))}"
    return f"a {type(value).__name__}"
