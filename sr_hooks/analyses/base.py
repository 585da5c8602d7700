"""The base classes of analyses and watchers, and the function `execute` that runs every analysis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch

from sr_hooks.analyses.determinism import deterministic_algorithms, rerun_facts
from sr_hooks.analyses.parts import Parts
from sr_hooks.analyses.provenance import provenance_of
from sr_hooks.analyses.watch_context import WatchContext
from sr_hooks.core import registry as plugins
from sr_hooks.core.options import from_mapping
from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import OptionError, PluginError, nearest
from sr_hooks.hooks.layer_list import resolve
from sr_hooks.images.clips import by_frames
from sr_hooks.images.image import downsample
from sr_hooks.images.masks import AUTO, parse_regions
from sr_hooks.inference.behaviour import observing
from sr_hooks.inference.inputs import check_input, noting
from sr_hooks.inference.memory.fallback import with_less_memory
from sr_hooks.networks.network import Network
from sr_hooks.results.display import ResultList
from sr_hooks.results.result import Result, with_warnings

__all__ = [
    "Analysis",
    "Watcher",
    "blamed",
    "execute",
    "find_analysis",
    "joined",
    "options_of",
]

Options = TypeVar("Options")
Run = Callable[[Network, Any, Any], Any]


class Watcher:
    """An analysis bound to a training run. Subclass it where the plain analysis at each due step is not enough.

    The session calls `check` once before the first step, `due` at every due iteration, and, where a subclass
    overrides them, `before_step` and `after_step` around every optimizer step. In a distributed run the session calls
    `due` on rank 0 only, and the other methods on every rank. The session restores what `check` and `due` change of
    the network, of random streams and of torch's global switches; the other methods must not change any of these
    (`sr_hooks.training.preserved` helps). An error of a watcher is logged; after three the watcher is disabled.
    """

    def __init__(self, kind: type[Analysis[Any]], options: Any, context: WatchContext) -> None:
        """`options` is a `kind.watch_options_type` (or `options_type`): the block without the shared keys."""
        self.kind, self.options, self.context = kind, options, context

    def check(self, network: Network) -> None:
        """Refuse, before training, images that do not fit, windows outside the output, and missing layers.

        This method checks every image, and the options that are called window, windows, layer and layers.

        Raises:
            SRHooksError: what is wrong.
        """
        stated = [getattr(self.options, name, None) for name in ("window", "windows")]
        requested = [window for value in stated if value is not None for window in parse_regions(value)[0]]
        windows = [window for window in requested if window != AUTO]
        for image in self.context.images:
            lr = image if self.kind.takes == "lr" else by_frames(partial(downsample, scale=network.scale), image)
            check_input(network, lr, windows=windows, frame=getattr(self.options, "frame", None))
        if self.context.images:
            small = lr[..., :64, :64].to(network.device)
            for name in ("layer", "layers"):
                if getattr(self.options, name, None) is not None:
                    resolve(network.module, getattr(self.options, name), lambda: network(small))

    def due(self, network: Network, iteration: int) -> Result | Sequence[Result] | None:
        """The results at this iteration; by default `execute` looks at LR images one by one, at HR images together.

        Args:
            network: holds the weights to look at, of the moving average or of the network in training.
            iteration: optimizer steps done.
        """
        images = self.context.images
        if self.kind.joins_images():
            return execute(self.kind, network, images if network.frames else joined(images), self.options)
        results: list[Result] = []
        for name, image in zip(self.context.image_names, images, strict=True):
            answer = execute(self.kind, network, image, self.options)
            for result in answer if isinstance(answer, list) else [answer]:
                result.provenance["input_file"] = name
                results.append(result)
        return results

    def estimate(self, forward: float) -> float:
        """Seconds that the first `due` may take, where one forward pass on the first image takes `forward`."""
        return 60 * forward * max(len(self.context.images), 1)

    def install(self, network: Network) -> Iterable[Any]:
        """Put hooks on the network in training, once before the first step, and return their handles.

        The session removes the hooks however the run ends. They do not run while an analysis looks at the network.
        Nothing protects the training from what such a hook does: it may look at tensors, and must change none.
        """
        return ()

    def wants_steps(self) -> bool:
        """Whether `before_step` and `after_step`, where overridden, are wanted at all with these options."""
        return True

    def before_step(self, network: Network, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        """Before the optimizer's step that makes the network's weights those of `iteration`; must be cheap.

        Gradients are in `.grad`; the network is the one in training, not its moving average. The session installs this
        hook and `after_step` only where they are overridden: saving random streams costs about 0.15 ms a call.
        """

    def after_step(self, network: Network, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        """After that step."""

    def state_dict(self) -> dict[str, Any]:
        """Running sums: tensors, numbers, text and containers of them, as resuming needs them; {} for none."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`; called after `check`, before the first step of a resumed run."""

    def reduce(self, all_reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Add up the running sums over the ranks of a distributed run.

        Called on every rank before `due` of rank 0 and before states are saved. `all_reduce` returns the sum over ranks
        and does not change its argument. Keep the total apart from what this rank has added since, so that nothing
        is added twice: `self.total += all_reduce(self.since); self.since.zero_()`.
        """


class Analysis(Generic[Options]):
    """Base of all analyses. Subclass it, and return the class from `register_analyses`.

    Attributes:
        name: of the command, the option-file block and the result folder.
        options_type: a frozen dataclass; its fields are flags and keys, documented with `sr_hooks.option`. `execute`
            acts on a field called `deterministic`.
        result_type: Result or a subclass.
        takes: what the images are, for help texts and the command line: "lr" (inputs) or "hr" (ground truth).
        together: True if all images give one result, False if each gives its own; None means True for "hr".
        joins_windows: whether a list of windows in the option `window` is explained in one call that costs less than
            one call for each, with one result a window; a grid on a GPU then calls it so.
        watcher_type: the class for training runs; by default the analysis runs on the watched images.
        watch_options_type: a frozen dataclass of the keys of its block in an option file; None for options_type.
        watch_names: other names that options have in such a block, e.g. {"windows": "window"}.
        watch_images: the number of validation images that a block uses if it names none.
        better: number of the headline to "higher" or "lower", whichever is better. Tables of several networks show the
            first of them, with the best value in bold.
        explains: number of the headline to its meaning, a sentence or two, for tooltips in the report of a grid.
        figure_options: the options of maps that `figure` takes: `sr_hooks.figures.MAP_OPTIONS`, or some of them. Other
            options of maps are refused by name. A `figure` with a keyword `options` takes all other figure options.

    Examples:
        >>> import dataclasses, torch, sr_hooks
        >>> @dataclasses.dataclass(frozen=True)
        ... class SharpnessOptions:
        ...     power: int = sr_hooks.option(2, "power of the differences", at_least=1)
        >>> class Sharpness(sr_hooks.Analysis[SharpnessOptions]):
        ...     name, options_type = "sharpness", SharpnessOptions
        ...     def run(self, network, images, options):
        ...         change = network(images).diff(dim=-1).abs() ** options.power
        ...         return sr_hooks.Result(self.name, {"map": change.numpy()}, {"sharpness": float(change.mean())})
        >>> Sharpness().run(sr_hooks.Network(torch.nn.Identity()), torch.zeros(1, 3, 8, 8), SharpnessOptions()).scalars
        {'sharpness': 0.0}
    """

    name: ClassVar[str]
    options_type: ClassVar[type]
    result_type: ClassVar[type[Result]] = Result
    takes: ClassVar[str] = "lr"
    together: ClassVar[bool | None] = None
    joins_windows: ClassVar[bool] = False
    watcher_type: ClassVar[type[Watcher]] = Watcher
    watch_options_type: ClassVar[type | None] = None
    watch_names: ClassVar[Mapping[str, str]] = {}
    watch_images: ClassVar[int] = 1
    better: ClassVar[Mapping[str, str]] = {}
    explains: ClassVar[Mapping[str, str]] = {}
    figure_options: ClassVar[tuple[str, ...]] = ()

    def run(self, network: Network, images: Any, options: Options) -> Result | Sequence[Result]:
        """The result, or several. The network is in evaluation mode, and its parameters require no gradient.

        The `provenance` of a result needs only what the analysis itself adds.
        """
        raise PluginError(f"the analysis {type(self).__name__} defines no run()")

    @classmethod
    def joins_images(cls) -> bool:
        """Whether `run` is given all images at once: a batch where their sizes agree, else a list."""
        return cls.takes == "hr" if cls.together is None else cls.together

    @classmethod
    def divided(cls, network: Network, images: Any, options: Options) -> Parts | None:
        """The work in parts, which workers share (`sr_hooks.grid.run_in_parts`); None if it cannot be divided."""
        return None

    @classmethod
    def figure(cls, result: Result) -> Any:
        """A matplotlib Figure of the result, or None."""
        return None


def find_analysis(name: str) -> type[Analysis[Any]]:
    """The registered analysis of that name.

    Raises:
        OptionError: there is none; with the nearest names.
    """
    known = plugins.contributions("register_analyses")
    if name not in known:
        raise OptionError(f"no analysis {name!r}; {nearest(name, known)}")
    return known[name]  # type: ignore[return-value]


def options_of(
    kind: type[Analysis[Any]], values: Mapping[str, Any], *, where: str, options_type: type | None = None
) -> Any:
    """An analysis's options (`options_type` of another kind) from names and values, as `from_mapping` makes them.

    Raises:
        OptionError: an unknown name, or a value of the wrong kind.
        PluginError: the analysis is a third party's, and its options raised something else.
    """
    with blamed(kind, "options"):
        return from_mapping(options_type or kind.options_type, values, where=where)


@contextmanager
def blamed(kind: type[Analysis[Any]], where: str) -> Iterator[None]:
    """`plugins.blamed` for an analysis; an out-of-memory error passes unchanged, since no plugin is at fault."""
    name = getattr(kind, "name", "")
    if plugins.contributions("register_analyses").get(name) is not kind:
        yield
        return
    try:
        with plugins.blamed("register_analyses", name, where):
            yield
    except PluginError as error:
        if error.__cause__ is not None and is_out_of_memory(error.__cause__):
            raise error.__cause__ from None
        raise


def execute(
    kind: type[Analysis[Any]], network: Any, images: Any, options: Any, run: Run | None = None
) -> Result | list[Result]:
    """Prepare a network, run an analysis on it (or `run` in its place), restore it, and complete the provenance."""
    network = Network.of(network)
    registry = plugins.registry()
    registry.call("before_analysis", analysis=kind.name, network=network, options=options)
    start, deterministic = time.perf_counter(), bool(getattr(options, "deterministic", False))
    plain = torch.autocast(network.device.type, enabled=False)  # an analysis chooses its own precision
    with (
        network.prepared(),
        noting() as notes,
        torch.inference_mode(False),
        plain,
        deterministic_algorithms(deterministic, network.device),
        observing(network) as behaviour,
        blamed(kind, "run"),
    ):
        answer = with_less_memory(
            network, lambda: _checked(kind, (run or kind().run)(network, images, options)), what=kind.name
        )
        reruns = rerun_facts(network, deterministic)
    warnings = [*network.warnings(), *behaviour.warnings()]
    seconds = time.perf_counter() - start
    common = provenance_of(kind.name, network, options) | reruns | ({"input_notes": notes} if notes else {})
    for result in answer if isinstance(answer, list) else [answer]:
        result.provenance = {**common, "seconds": round(seconds, 4), **result.provenance}
        if warnings:
            result.verdict = with_warnings(result.verdict, warnings)
            result.provenance["warnings"] = [*result.provenance.get("warnings", []), *warnings]
        registry.call("after_analysis", result=result)
    return answer


def _checked(kind: type[Analysis[Any]], answer: Any) -> Result | list[Result]:
    """A result, or a list of results; anything else is refused."""
    for result in answer if isinstance(answer, list) else [answer]:
        if not isinstance(result, Result):
            raise PluginError(f"the analysis {kind.name} returned a {type(result).__name__}, not a Result")
    return ResultList(answer) if isinstance(answer, list) else cast("Result", answer)


def joined(images: Sequence[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
    """(1,C,h,w) images as one batch where their sizes agree, as a list where not."""
    return torch.cat(list(images)) if len({image.shape for image in images}) == 1 else list(images)
