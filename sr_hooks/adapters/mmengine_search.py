"""Watch the Runner of mmengine that trains inside a function, whose config says what to watch."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sr_hooks.errors import OptionError
from sr_hooks.training.distributed import stopping

__all__ = ["hunting"]

_hunts: list[object] = []


@contextmanager
def hunting(block: Mapping[str, Any], base: Path | None, where: str, met: Callable[[], None]) -> Iterator[None]:
    """Give every Runner that trains inside a hook of ours, unless its config has one.

    Of nested hunts only the innermost is on. Where mmengine is not installed, nothing is done.

    Args:
        block: what lies on top of the config's `sr_hooks`.
        base: folder for relative paths in it; that of the config where None.
        where: how messages call it.
        met: called when a Runner begins to train.
    """
    module = _runner_module()
    if module is None:
        yield
        return
    original, me = module.Runner.train, object()

    @functools.wraps(original)
    def train(runner: Any, *args: Any, **kwargs: Any) -> Any:
        if _hunts[-1] is not me:
            return original(runner, *args, **kwargs)
        met()
        with stopping():
            hook = _registered(runner, block, base, where)
        try:
            return original(runner, *args, **kwargs)
        finally:
            if hook is not None:
                hook.close()
                runner._hooks.remove(hook)

    module.Runner.train = train
    _hunts.append(me)
    try:
        yield
    finally:
        _hunts.remove(me)
        module.Runner.train = original


def _runner_module() -> Any:
    if importlib.util.find_spec("mmengine") is None:
        return None
    with contextlib.suppress(Exception):  # broken or half installed: whoever needs it will say so
        return importlib.import_module("mmengine.runner.runner")
    return None


def _registered(runner: Any, block: Mapping[str, Any], base: Path | None, where: str) -> Any:
    """Our hook on the runner; None where its config has one."""
    from sr_hooks.adapters.mmagic import SRHooks

    if not any(isinstance(hook, SRHooks) for hook in runner.hooks):
        hook = SRHooks(**block)
        hook.where, hook.base = where, base
        runner.register_hook(hook)
        return hook
    if block:
        raise OptionError(f"{where}: the config's custom_hooks have SRHooks already: say it in one place")
    return None
