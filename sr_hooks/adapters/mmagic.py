"""The hook for mmagic and every other project that trains by a Runner of mmengine; a config names it by its path.

    custom_hooks = [dict(type="sr_hooks.adapters.mmagic.SRHooks", lam=dict(windows=[[96, 120, 16]], every=5000))]

This module alone imports mmengine at its top: whoever names it in a config has mmengine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from sr_hooks.adapters.mmengine_runner import (
    VisualizerWriter,
    check_order,
    networks_of,
    optimizer_of,
    validation_images,
)
from sr_hooks.training.config import BLOCK, WatchPlan, merge, network_part, parse_block
from sr_hooks.training.distributed import stopping
from sr_hooks.training.notices import leaving_alone, note
from sr_hooks.training.session import Session
from sr_hooks.training.watch_images import image_source

__all__ = ["SRHooks"]


class SRHooks(Hook):  # type: ignore[misc]  # mmengine is untyped
    """Watch a training run; the same keys as the `sr_hooks:` block of a BasicSR option file.

    A `sr_hooks = dict(...)` in the config is read too; what is given here lies on top of it.

    Args:
        network: which part of the model is the network, "path.to.submodule"; "generator" where not given. ("ema" and
            "raw" are which of its weights to look at, as in the block.)
        facts: what `sr_hooks.Network` takes of it: scale, input_range, mean, std, bgr, multiple, channels, output.
            What is not given is read off the data preprocessor and the pipeline, or inferred.
        block: an analysis's name with its options, and keys for all of them: `image`, `budget`, `sinks`, `seed`.

    Raises:
        RunStopped: when training begins, where what is asked for cannot be done; with the key and the nearest name.
    """

    priority = "LOW"  # after the hooks that keep averages, before the one that saves checkpoints

    def __init__(self, **block: Any) -> None:
        self.block = _plain(block)
        self.where: str | None = None
        self.base: Path | None = None
        self.session: Session | None = None
        self._undo: list[Callable[[], None]] = []

    # -- the host's events -------------------------------------------------------------------------

    def before_run(self, runner: Any) -> None:
        """Wrap the training loop, so that nothing of ours is left on the run however the loop ends."""
        loop = runner._train_loop
        if callable(getattr(loop, "run", None)):
            self.close()
            self._wrap(loop, "run", self._running)

    def before_train(self, runner: Any) -> None:
        """Start the session: all is built and, on resume, loaded; nothing is trained yet."""
        with leaving_alone("the Runner"), stopping():
            plan, path, facts = self._plan(runner.cfg)
            if not plan.analyses:
                runner.logger.info("sr_hooks: %s asks for no analysis, so nothing is watched", plan.where)
                note(f"{plan.where} asks for no analysis", is_fault=False)
                return
            check_order(runner, self)
            networks = networks_of(runner, path, facts)
            session = Session(
                plan,
                networks,
                image_source(plan.base, validation_images(runner)),
                folder=Path(runner.work_dir) / BLOCK,
                tensorboard=lambda: VisualizerWriter(runner.visualizer),
                log=runner.logger,
                run=Path(runner.work_dir).name,
                seed=int((plan.seed if plan.seed is not None else runner.seed) or 0),
                total=runner.max_iters,
            )
            session.start(runner.iter)
            if session.wants_steps:
                session.attach(optimizer_of(runner, networks["raw"].module))
            self.session = session
            self._wrap(runner, "save_checkpoint", self._saving)

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        if self.session is not None:
            self.session.step(runner.iter + 1)

    def after_val(self, runner: Any) -> None:
        """Tell the session; EMAHook has put back by now the weights that it exchanged for the validation."""
        if self.session is not None:
            self.session.validated()

    def after_train(self, runner: Any) -> None:
        if self.session is not None:
            self.session.end()

    def close(self) -> None:
        """Take all that is ours off the run."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        if self.session is not None:
            self.session.close()
            self.session = None

    def _running(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        finally:
            self.close()

    def _saving(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Tell the session, on every rank; the event before_save_checkpoint happens on the first rank alone."""
        if self.session is not None:
            self.session.saving()
        return original(*args, **kwargs)

    def _wrap(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, method)
        self._undo.append(lambda: vars(owner).pop(name, None))

    # -- what is asked for -------------------------------------------------------------------------

    def _plan(self, cfg: Any) -> tuple[WatchPlan, str, dict[str, Any]]:
        """The plan, the network's path in the model, and the facts that are stated of the network."""
        file = getattr(cfg, "filename", None)
        own_source = self.where or "custom_hooks: SRHooks"
        config_block = cfg.get(BLOCK) if isinstance(cfg, Mapping) or hasattr(cfg, "get") else None
        sources = [BLOCK] * (config_block is not None) + [own_source] * bool(self.block or config_block is None)
        where = (f"{file}: " if file else "") + " + ".join(sources)
        if config_block is not None and not isinstance(config_block, Mapping):
            parse_block(_plain(config_block), where=where)  # says what it should be
        merged = merge(_plain(config_block), self.block)
        block, path, facts = network_part(merged, where=where, default="generator")
        base = self.base or (Path(file).parent if file else Path())
        return parse_block(block, where=where, base=base), str(path), facts


def _plain(value: Any) -> Any:
    """The value with plain dicts instead of mmengine's, which give a value for keys that they do not hold."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(inner) for inner in value)
    return value
