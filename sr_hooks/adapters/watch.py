"""The public functions that watch a training run: `analyze` decorates a function that trains, `watch` joins a loop."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.adapters import basicsr_search, mmengine_search
from sr_hooks.adapters.basicsr import Attached, is_model
from sr_hooks.adapters.basicsr_force_yml import without_missing_keys
from sr_hooks.adapters.loop import Watch, waiting, watch_loop
from sr_hooks.errors import OptionError, SRHooksError
from sr_hooks.networks.loading.loaders import import_basicsr
from sr_hooks.training.config import BLOCK, WatchPlan, block_file_beside, merge, option_file, parse_block, read_block
from sr_hooks.training.config import setting as host_setting
from sr_hooks.training.distributed import stopping
from sr_hooks.training.notices import Request

__all__ = ["Watch", "analyze", "watch", "watched_run"]

_outer_blocks: list[dict[str, Any]] = []  # --force_yml of a launcher that runs a decorated script
_LOOP_KEYS = ("ema", "folder", "name", "tensorboard", "start")


def analyze(function: Any = None, *, config: Any = None, network: str | None = None, **options: Any) -> Any:
    """Watch the training run that happens inside a function: `@sr_hooks.analyze`, with or without arguments.

    With BasicSR, a copy of it, traiNNer-redux or neosr, the model is recognised when it is built, and the `sr_hooks:`
    block of the option file says what to watch; with mmagic, and whatever trains by a Runner of mmengine, the config's
    `sr_hooks` does. In a plain PyTorch loop, `network` names the variable that holds the network, and the first step
    of an optimizer that holds its weights begins the watch.

        @sr_hooks.analyze
        def main():
            train_pipeline(root)

        @sr_hooks.analyze(network="net", lam={"windows": [[96, 120, 16]], "image": "baby.png", "every": 1000})
        def train():
            ...

    Args:
        config: a YAML or TOML file, or a mapping, of analyses to their options; on top of the option file's block.
        network: name of the variable ("net", "self.net") in the function, or in one that it calls.
        options: the same as keywords, on top of both: an analysis's name with its options, `budget`, `sinks`, and
            for plain loops what `watch` takes: `ema` (a variable's name), `folder`, `name`, `tensorboard`, `start`.

    Raises:
        RunStopped: before training, where what is asked for cannot be done; with the key, the file and the nearest
            valid name. Uncaught, it ends the program with that message alone.
    """
    if function is None:
        return functools.partial(analyze, config=config, network=network, **options)
    if not callable(function) or inspect.isclass(function) or isinstance(function, nn.Module):
        raise OptionError(f"analyze goes on the function that trains, not on a {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise OptionError(
            f"{function.__name__} only trains once it is awaited or iterated: put analyze on what does that"
        )

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        code = getattr(inspect.unwrap(function), "__code__", None)
        with watched_run(code, config=config, network=network, **options):
            return function(*args, **kwargs)

    return watched


@contextmanager
def watched_run(
    code: Any = None,
    *,
    config: Any = None,
    network: str | None = None,
    file: Path | None = None,
    is_told: bool = True,
    **options: Any,
) -> Iterator[Request]:
    """`analyze` as a context manager, which yields the request.

    Args:
        code: of the function in whose variables a plain loop's network is sought.
        file: the option file, where it is not among the process's arguments.
        is_told: warn at the end if no watch has begun.
    """
    request = Request()
    loop = {key: options.pop(key) for key in _LOOP_KEYS if key in options}
    forced: dict[str, Any] = {}  # filled below, before any host asks for a plan
    file = file or option_file()

    def planner(host: Any) -> WatchPlan:
        return _plan(config, options, host=host, file=file, forced=forced)

    with ExitStack() as stack:
        call_off: Callable[[], None] = lambda: None  # noqa: E731
        with stopping():
            if isinstance(config, (str, Path)):
                read_block(config)
            if network is not None:
                _plan(config, options)  # else they may lie on top of an option file's block, and not be whole
        if network is not None or config is not None or options:
            call_off = stack.enter_context(waiting(code, network, lambda: _plan(config, options), loop, request))
        if network is None:
            if importlib.util.find_spec("basicsr") is not None and not basicsr_search.model_classes():
                with contextlib.suppress(SRHooksError):
                    import_basicsr()
                    importlib.import_module("basicsr.models")
            with stopping():
                block, where, base = _merged(config, options)
                forced.update(merge(*_outer_blocks, stack.enter_context(without_missing_keys(file))))
            _outer_blocks.append(forced)
            stack.callback(_outer_blocks.pop)
            stack.enter_context(basicsr_search.searching(planner, call_off))
            stack.enter_context(mmengine_search.searching(block, base, where, call_off))
        try:
            yield request
        except SystemExit as error:
            if error.code in (None, 0) and is_told:
                request.tell()
            raise
    if is_told:
        request.tell()


def watch(
    network: Any,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    config: Any = None,
    ema: nn.Module | None = None,
    folder: str | Path | None = None,
    name: str | None = None,
    tensorboard: Any = None,
    start: int = 0,
    **options: Any,
) -> Any:
    """Watch a plain PyTorch loop: `with sr_hooks.watch(network, optimizer, lam={...}, image="baby.png"): train()`.

    Each step of the optimizer is an iteration. Weights in training are looked at as soon as the step is done; a moving
    average just before the next step, when it has been brought up to date.

    Args:
        network: the network in training, also as Accelerate's `prepare` returns it; or a model of BasicSR, which then
            needs no optimizer.
        optimizer: the one that holds its weights; wrapped by Accelerate, its steps count, not the calls of `step`.
        config: a YAML file, or a mapping, of analyses to their options.
        ema: the moving average of the network, if one is kept; it is then what is looked at by default.
        folder: for results; by default experiments/<name>/sr_hooks in the working directory.
        name: of the run; by default the network's class.
        tensorboard: a SummaryWriter for scalars and figures.
        start: iterations done before, on resume.
        options: an analysis's name with a mapping of its options; or a key for all of them: `image`, `budget`, `sinks`.

    Returns:
        A context, with `validated()`, `saving()`, `end()` and `close()`. Leaving it normally does what is due at the
        end; leaving it by an exception only takes off the hooks.

    Raises:
        SRHooksError: what is asked for cannot be done.
    """
    if is_model(network):
        host = getattr(network, "opt", None)
        return Attached(network, host, _plan(config, options, host=host, file=option_file()))
    plan = _plan(config, options)
    return watch_loop(network, optimizer, plan, ema=ema, folder=folder, name=name, tensorboard=tensorboard, start=start)


def _plan(
    config: Any,
    options: Mapping[str, Any],
    *,
    host: Any = None,
    file: Path | None = None,
    forced: Mapping[str, Any] | None = None,
) -> WatchPlan:
    """The plan of the blocks of option file, config, keywords and --force_yml; later blocks override earlier ones."""
    block, where, base = _merged(config, options, host=host, file=file, forced=forced)
    return parse_block(block, where=where, base=base or Path())


def _merged(
    config: Any,
    options: Mapping[str, Any],
    *,
    host: Any = None,
    file: Path | None = None,
    forced: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], str, Path | None]:
    """All blocks merged into one, what messages call the merged block, and the folder for its relative paths."""
    blocks: list[Any] = []
    sources: list[str] = []
    base = file.parent if file is not None else None
    own = host_setting(host, BLOCK)
    if own is not None:
        blocks.append(own)
        sources.append(f"{file}: {BLOCK}" if file is not None else BLOCK)
    elif host is not None and (beside := block_file_beside(file)) is not None:
        blocks.append(read_block(beside))
        sources.append(str(beside))
    if isinstance(config, (str, Path)):
        blocks.append(read_block(config))
        sources.append(str(config))
        base = Path(config).parent
    elif config is not None:
        blocks.append(config)
        sources.append("config")
    if options:
        blocks.append(options)
        sources.append("keywords")
    if forced:
        blocks.append(forced)
        sources.append("--force_yml")
    for block, source in zip(blocks, sources, strict=True):
        if not isinstance(block, Mapping):
            parse_block(block, where=source)
    where = " + ".join(sources) or (f"{file}: {BLOCK}" if file is not None else BLOCK)
    return merge(*blocks), where, base
