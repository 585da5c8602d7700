"""SRGA, how well a network generalises, without ground truth (Liu et al., arXiv 2205.07019), with its own floor.

A network treats inputs alike where its deep features are distributed alike. Features of a reference set and of a test
set are each projected to their own principal components; all coordinates of a set together are fitted by a generalised
Gaussian, and the index is log10(KL(reference || test) + 1e-5) + 5. Two halves of one set have an index too: the floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

import sr_hooks
from sr_hooks.analyses import Analysis, WatchContext, Watcher
from sr_hooks.core import progress_bar
from sr_hooks.figures import FigureOptions
from sr_hooks.hooks import resolve
from sr_hooks.images import digest_of_inputs, parse_folders
from sr_hooks.statistics import are_many
from sr_hooks_srga.measure import Measured
from sr_hooks_srga.parts import SrgaParts
from sr_hooks_srga.published import FAULTS, published_fits, published_index
from sr_hooks_srga.sets import Set, draw_sets

_LOOKED = 256  # inputs of a very large reference among which the example is chosen

__all__ = ["Srga", "SrgaOptions", "SrgaWatchOptions", "SrgaWatcher"]


@dataclass(frozen=True)
class SrgaOptions:
    """Options of SRGA."""

    reference: Any = sr_hooks.option("clean", "what it is compared with: a degradation, or a folder of network inputs")
    degradations: Any = sr_hooks.option(
        ("blur:2", "noise:20"), "sets to compare: blur:2, noise:20, jpeg:30, ...", may_be_empty=True
    )
    folders: Any = sr_hooks.option(None, "more sets: label=folder of network inputs, degraded already")
    layer: str = sr_hooks.option("auto", "the tap; auto is the input of the last convolution")
    patch: int = sr_hooks.option(32, "side of a patch in input pixels")
    patches: int = sr_hooks.option(800, "patches of each set, at most; they do not overlap", at_most=1_000_000)
    components: int = sr_hooks.option(300, "principal components, at most half the patches less one", at_most=1_000_000)
    sigmas: float = sr_hooks.option(5.0, "coordinates further from the mean, in standard deviations, are dropped")
    splits: int = sr_hooks.option(50, "random halvings of the patches, for floor and intervals", at_most=1_000_000)
    batch: int = sr_hooks.option(8, "patches that go through at once, at most", at_most=1_000_000)
    memory: float = sr_hooks.option(1.5, "gigabytes for held features; what does not fit is computed again")
    sketch: int | None = sr_hooks.option(
        None,
        "numbers that each feature is sketched to, 0 for never (default: never up to 20,000 patches a set, above up to "
        "4096 as the memory allows); the error against exact features of 10,000 patches is stated",
        at_least=0,
        at_most=65_536,
    )
    seed: int = sr_hooks.option(0, "of patches, degradations and halvings")
    compat: Literal["srga"] | None = sr_hooks.option(
        None, "srga: index and fits as the published code computes them, with its faults"
    )

    def __post_init__(self) -> None:
        for name, least in (("patch", 1), ("patches", 8), ("components", 1), ("splits", 10), ("batch", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least {least}")
        if not (self.sigmas >= 1 and self.memory > 0):
            raise ValueError("sigmas must be at least 1 and memory above 0")


@dataclass(frozen=True)
class SrgaWatchOptions(SrgaOptions):
    """Keys of a `srga:` block in an option file: those of SRGA, with lighter defaults. Seed 0 is the run's seed."""

    patch: int = sr_hooks.option(16, "side of a patch in input pixels")
    patches: int = sr_hooks.option(64, "patches of each set, at most; they do not overlap", at_most=1_000_000)
    splits: int = sr_hooks.option(20, "random halvings of the patches, for floor and intervals", at_most=1_000_000)


class SrgaWatcher(Watcher):
    """Finds folders beside the option file, and refuses before training what could not be compared."""

    def __init__(self, kind: type[Analysis[Any]], options: Any, context: WatchContext) -> None:
        folders = {label: self._beside(value, context) for label, value in parse_folders(options.folders).items()}
        seed = options.seed or context.seed
        resolved = replace(options, folders=folders, reference=self._beside(options.reference, context), seed=seed)
        super().__init__(kind, resolved, context)

    @staticmethod
    def _beside(value: Any, context: WatchContext) -> Any:
        beside = context.base / value if isinstance(value, str) else None
        return beside if beside is not None and beside.is_dir() else value

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        _sets(network, list(self.context.images), self.options)

    def estimate(self, forward: float) -> float:
        """As many forward passes as the sets have pixels of the first image, and the statistics."""
        pixels = self.context.images[0][0, 0].numel() if self.context.images else 1
        sets = 3 + len(self.options.folders)
        return forward * sets * self.options.patches * (self.options.patch * 4) ** 2 / pixels + 5


class Srga(Analysis[SrgaOptions]):
    """Are deep features of degraded inputs distributed as those of a reference?"""

    name = "srga"
    options_type = SrgaOptions
    takes = "hr"
    watcher_type = SrgaWatcher
    watch_options_type = SrgaWatchOptions
    watch_images = 8

    def run(self, network: sr_hooks.Network, images: Any, options: SrgaOptions) -> sr_hooks.Result:
        with progress_bar("srga", unit="patches") as bar:
            parts = _parts(network, _sets(network, images, options), options, bar)
            bar.total = parts.count * len(parts.sets)
            return parts.combine(parts.compute)

    @classmethod
    def divided(cls, network: sr_hooks.Network, images: Any, options: SrgaOptions) -> SrgaParts:
        return _parts(network, _sets(network, images, options, held=False), options)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_srga.figure import srga_figure

        return srga_figure(result, options or FigureOptions())


def _parts(network: sr_hooks.Network, sets: list[Set], options: SrgaOptions, bar: Any = None) -> SrgaParts:
    first = sets[0].inputs[:1].to(network.device)
    taps = resolve(network.module, options.layer, lambda: network(first))
    if len(taps) > 1:
        raise sr_hooks.SRHooksError(f"layer {options.layer!r} means {len(taps)} taps: give one")
    tap = str(taps[0])

    def conclude(measured: Measured) -> sr_hooks.Result:
        if options.compat:
            published = published_fits(network, sets, tap, options)
            indices = [published_index(published[0], other) for other in published[1:]]
            measured = replace(measured, fits=published, indices=indices, components=options.components)
        return _result(sets, measured, tap, options)

    return SrgaParts(network, sets, tap, options, conclude, bar)


def _sets(network: sr_hooks.Network, images: Any, options: SrgaOptions, *, held: bool = True) -> list[Set]:
    folders = parse_folders(options.folders)
    return draw_sets(
        network,
        images,
        options.reference,
        options.degradations,
        folders,
        patch=options.patch,
        patches=options.patches,
        seed=options.seed,
        held=held,
    )


def _result(sets: list[Set], measured: Measured, layer: str, options: SrgaOptions) -> sr_hooks.Result:
    floor = float(np.quantile(measured.floor, 0.95))
    rows: list[dict[str, Any]] = []
    for each, fitted, index, halves in zip(sets[1:], measured.fits[1:], measured.indices, measured.halves, strict=True):
        low, middle, high = (float(q) for q in np.quantile(halves, [0.025, 0.5, 0.975]))
        above = "above" if low > floor else "not above" if middle <= floor else "undecided"
        spread = fitted.sigma / measured.fits[0].sigma
        rows.append(
            {"set": each.name, "srga": index, "half_low": low, "half_median": middle, "half_high": high}
            | {"floor": above, "spread": spread, "shape": fitted.shape, "dropped": fitted.dropped}
        )
    scalars: dict[str, Any] = {f"srga/{row['set']}": row["srga"] for row in rows}
    scalars |= {
        "floor": floor,
        "patches": len(sets[0].inputs),
        "components": measured.components,
        "reference": sets[0].name,
        "reference_fit": {name: getattr(measured.fits[0], name) for name in ("sigma", "shape", "dropped")},
        "sets": rows,
        "layer": layer,
    }
    if options.compat:
        scalars |= {"compat": options.compat, "faults": list(FAULTS)}
    arrays = {"floor": measured.floor, "halves": measured.halves, "edges": measured.edges, "counts": measured.counts}
    example = _liveliest(sets[0])
    arrays["examples"] = np.concatenate([each.inputs[example : example + 1].cpu().numpy() for each in sets])
    if measured.sketch:
        scalars["sketch"] = dict(measured.sketch)
    provenance = {"seed": options.seed, "inputs_sha256": {each.name: digest_of_inputs(each.inputs) for each in sets}}
    return sr_hooks.Result("srga", arrays, scalars, provenance, _verdict(scalars, options))


def _liveliest(reference: Set) -> int:
    return int(reference.inputs[: _LOOKED if are_many(len(reference.inputs)) else None].flatten(1).std(dim=1).argmax())


def _verdict(scalars: Mapping[str, Any], options: SrgaOptions) -> str:
    floor = scalars["floor"]
    words = {
        "above": "treated unlike the reference",
        "not above": "not told from the reference",
        "undecided": "undecided",
    }
    groups = []
    for key, meaning in words.items():
        names = [f"{row['set']} ({_numbers(row)})" for row in scalars["sets"] if row["floor"] == key]
        if names:
            groups.append(f"{meaning}: {', '.join(names)}")
    text = f"{'; '.join(groups)}; two halves of {scalars['reference']} reach {floor:.2f} by chance"
    if scalars["patches"] < options.patches:
        text += f"; {scalars['patches']} patches where {options.patches} were asked, the images hold no more"
    if scalars["components"] < options.components:
        text += f"; {scalars['components']} components, so compare only with indices of as many patches"
    if "sketch" in scalars:
        text += _of_sketches(scalars["sketch"])
    if options.compat:
        index = (
            f"published procedure, {scalars['components']} components: {{}}; floor and halves are of our own procedure"
        )
        return index.format(text) + f"; faults that stay: {'; '.join(FAULTS)}."
    return text + "."


def _of_sketches(sketch: Mapping[str, Any]) -> str:
    worst, error = max(((name, abs(row["error"])) for name, row in sketch["sets"].items()), key=lambda pair: pair[1])
    return (
        f"; features are sketched to {sketch['size']} numbers: on {sketch['patches']} patches that changes SRGA by "
        f"{error:.2g} at most ({worst})"
    )


def _numbers(row: Mapping[str, Any]) -> str:
    return f"SRGA {row['srga']:.2f}, halves {row['half_low']:.2f} to {row['half_high']:.2f}"


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Srga]
