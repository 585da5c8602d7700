"""Find the Runner of mmengine that trains inside a function, and watch it as its config says."""

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

__all__ = ["searching"]

_searches: list[object] = []


@contextmanager
def searching(block: Mapping[str, Any], base: Path | None, where: str, on_runner: Callable[[], None]) -> Iterator[None]:
    """Register our hook on every Runner that trains in the block, unless its config has one.

    Of nested searches only the innermost is on. Where mmengine is not installed, nothing is done.

    Args:
        block: what lies on top of the config's `sr_hooks`.
        base: folder for relative paths in it; that of the config where None.
        where: how messages call the block.
        on_runner: called when a Runner begins to train.
    """
    module = _runner_module()
    if module is None:
        yield
        return
    original, token = module.Runner.train, object()

    @functools.wraps(original)
    def train(runner: Any, *args: Any, **kwargs: Any) -> Any:
        if _searches[-1] is not token:
            return original(runner, *args, **kwargs)
        on_runner()
        with stopping():
            hook = _registered(runner, block, base, where)
        try:
            return original(runner, *args, **kwargs)
        finally:
            if hook is not None:
                hook.close()
                runner._hooks.remove(hook)

    module.Runner.train = train
    _searches.append(token)
    try:
        yield
    finally:
        _searches.remove(token)
        module.Runner.train = original


def _runner_module() -> Any:
    if importlib.util.find_spec("mmengine") is None:
        return None
    with contextlib.suppress(Exception):  # a broken installation: the code that needs mmengine will say so
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
