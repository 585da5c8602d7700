"""The plugin contract. A plugin is a module or object under the entry-point group `sr_hooks` with some of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

__all__ = ["API_VERSION", "RESERVED_NAMES", "hookimpl", "hookspec"]

API_VERSION = 2
"""A plugin that needs a newer contract says so by an attribute `sr_hooks_api = 3`; older hosts disable it."""

_COMMANDS = [
    "card",
    "check",
    "compare",
    "completion",
    "demo",
    "doctor",
    "explore",
    "grid",
    "layers",
    "networks",
    "new-plugin",
    "plugins",
]
_COMMANDS += ["report", "show", "train"]
_KEYS = [
    "at",
    "at_end",
    "background",
    "budget",
    "every",
    "image",
    "images",
    "limit",
    "network",
    "on_error",
    "on_validation",
]
RESERVED_NAMES = frozenset([*_COMMANDS, *_KEYS, "seed", "sinks"])
"""What no analysis may be called: commands, and keys that stand beside analyses in an option file's block."""

hookspec = pluggy.HookspecMarker("sr_hooks")
hookimpl = pluggy.HookimplMarker("sr_hooks")


@hookspec
def register_analyses() -> list[type[Any]]:  # type: ignore[empty-body]
    """Subclasses of sr_hooks.Analysis: each gets a command, flags, a place in the schedule, figures and reports.

    A name is lower-case letters, digits and hyphens, and none of `RESERVED_NAMES`.
    """


@hookspec
def register_objectives() -> Mapping[str, Callable[[str | None], Any]]:  # type: ignore[empty-body]
    """Name to factory of an Objective; `name:argument` calls factory("argument")."""


@hookspec
def register_paths() -> Mapping[str, Callable[[str | None, int], Any]]:  # type: ignore[empty-body]
    """Name to factory of an ImagePath; `name:argument` with a seed calls factory("argument", seed)."""


@hookspec
def register_degradations() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Name to factory("argument" or None) of a `sr_hooks.degradations.Step`, or of a function (image, rng) -> image."""


@hookspec
def register_network_loaders() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Name to loader(spec, arguments, weights=, **facts) -> Network, or None for a spec that is not its own."""


@hookspec
def register_sinks() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Name to class (or factory) of a `sr_hooks.training.Sink`: where results of a watched training run go."""


@hookspec
def before_analysis(analysis: str, network: Any, options: Any) -> None:
    """Called before an analysis runs."""


@hookspec
def after_analysis(result: Any) -> None:
    """Called with each result, before it is handed out."""
