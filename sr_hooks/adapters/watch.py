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
    """Decorate the function that trains, so that the run inside it is watched: `@sr_hooks.analyze`.

    - BasicSR, its copies, traiNNer-redux and neosr: the `sr_hooks:` block of the option file states what to watch. The
      model is recognised when it is built.
    - mmagic, and any training by a Runner of mmengine: the `sr_hooks` of the config states what to watch.
    - A plain PyTorch loop: `network` names the variable that holds the network. Watching begins with the first step of
      an optimizer that holds its weights.

        @sr_hooks.analyze  # BasicSR: needs an option file, so this block is not run as an example
        def main():
            train_pipeline(root)

    Not for: a function that only builds the training, or a coroutine or generator; decorate the function that trains.

    Args:
        config: a YAML or TOML file, or a mapping, of analyses to their options; overrides the option file's block.
        network: name of the variable ("net", "self.net") in the function, or in a function that it calls.
        options: the same as keywords; they override both: an analysis's name with its options, `budget`, `sinks`, and
            for plain loops what `watch` takes: `ema` (a variable's name), `folder`, `name`, `tensorboard`, `start`.

    Raises:
        RunStopped: before training, if the request cannot be met; the message has the key, the file and the nearest
            valid name. Uncaught, it ends the program with that message alone.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.images import write_image
        >>> write_image(torch.rand(1, 3, 12, 12), "lr.png")
        >>> lam = {"windows": [[4, 4, 4]], "image": "lr.png", "every": 1}
        >>> @sr_hooks.analyze(network="net", lam=lam, budget="off", folder="out")
        ... def train():
        ...     net = torch.nn.Conv2d(3, 3, 3, padding=1)
        ...     optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        ...     net(torch.rand(1, 3, 8, 8)).square().mean().backward()
        ...     optimizer.step()
        >>> train()
        >>> from pathlib import Path
        >>> len(list(Path("out").rglob("result.json")))
        1
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
    """Watch a plain PyTorch loop, as a context: `with sr_hooks.watch(network, optimizer, ...): train()`.

    Each step of the optimizer is one iteration. Weights in training are analysed right after the step. A moving average
    is analysed just before the next step, when the loop has updated it.

    Not for: BasicSR's or mmengine's own training scripts, which `analyze` or the option file watch.

    Args:
        network: the network in training, also as Accelerate's `prepare` returns it; or a model of BasicSR, which then
            needs no optimizer.
        optimizer: the optimizer that holds its weights. Of one that Accelerate wraps, steps count, not calls of `step`.
        config: a YAML file, or a mapping, of analyses to their options.
        ema: the moving average of the network, if there is one; by default the average is then what is analysed.
        folder: for results; by default experiments/<name>/sr_hooks in the working directory.
        name: of the run; by default the network's class.
        tensorboard: a SummaryWriter for scalars and figures.
        start: number of iterations before this run, on resume.
        options: an analysis's name with a mapping of its options; or a key for all of them: `image`, `budget`, `sinks`.

    Returns:
        A context with `validated()`, `saving()`, `end()` and `close()`. At its end it runs the analyses that are due at
        the end. After an exception it only removes the hooks.

    Raises:
        SRHooksError: the request cannot be met; the message says which key is wrong.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.images import write_image
        >>> write_image(torch.rand(1, 3, 12, 12), "lr.png")
        >>> network = torch.nn.Conv2d(3, 3, 3, padding=1)
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> lam = {"windows": [[4, 4, 4]], "image": "lr.png", "every": 2}
        >>> with sr_hooks.watch(network, optimizer, lam=lam, budget="off", folder="out") as watched:
        ...     for _ in range(2):
        ...         network(torch.rand(1, 3, 8, 8)).square().mean().backward()
        ...         optimizer.step()
        >>> watched.iteration, network.training, len(network._forward_hooks)
        (2, True, 0)
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
