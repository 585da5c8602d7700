"""Features of many images, a batch at a time; only one batch is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sr_hooks.hooks.activations import capture, features
from sr_hooks.hooks.taps import Tap, parse_tap
from sr_hooks.inference.batches import groups, in_batches
from sr_hooks.inference.inputs import prepare_input
from sr_hooks.networks.network import Network

__all__ = ["Seen", "stream"]


@dataclass(frozen=True)
class Seen:
    """A batch of images and its features.

    Attributes:
        first: how many images came before.
        images: (N,C,h,w), on the network's device.
        features: tap as written to tensor; the first dimension is N where the network keeps images apart.
        output: (N,C,H,W) where `output` is set, else None.
    """

    first: int
    images: torch.Tensor
    features: Mapping[str, torch.Tensor]
    output: torch.Tensor | None


def stream(
    network: Network,
    images: torch.Tensor | Iterable[Any],
    taps: Iterable[str | Tap],
    *,
    batch: int = 8,
    output: bool = False,
    bar: Any = None,
) -> Iterator[Seen]:
    """What passes each tap, batch by batch, without a graph, and without running deeper than the last tap.

        for seen in stream(network, files, ["conv_last:in"]):
            sums += seen.features["conv_last:in"].sum(dim=(0, 2, 3))

    Hooks are on the network only while a batch goes through, so a loop that is left early leaves none. Images are
    read as they are needed: an iterator of millions is no more than one batch of memory. Use `hooks.features` for one
    image and `hooks.capture(keep_graph=True)` for gradients.

    Args:
        images: (N,C,h,w), or an iterable of tensors, NumPy arrays and file names; sizes may differ.
        taps: as written, or Tap (`hooks.resolve` makes them of patterns, `auto` and `all`).
        batch: at most so many images at once; halved where memory runs out.
        output: run to the end and give the output too.
        bar: a `sr_hooks.core.progress_bar` to be updated by images.

    Raises:
        ImageError: something that is no image in [0, 1], or of other channels than the network takes.
        TapError: a tap that does not fire, or fires more than once.
    """
    parsed = [parse_tap(tap) for tap in taps]
    several = [images] if isinstance(images, (torch.Tensor, str, Path)) else images
    first = 0
    singles = (one for image in several for one in prepare_input(network, image, one_batch=True, clips=False).images)
    for group in groups(singles, batch):

        def compute(part: slice, group: torch.Tensor = group) -> tuple[torch.Tensor, Any, Any]:
            x = group[part].to(network.device)
            return (x, *_run(network, x, parsed, output))

        for part, (x, captured, out) in in_batches(len(group), compute, batch=batch, bar=bar):
            yield Seen(first + part.start, x, captured, out)
        first += len(group)


def _run(network: Network, x: torch.Tensor, parsed: list[Tap], output: bool) -> tuple[Any, Any]:
    if not output:
        return features(network.module, lambda: network.feed(x), parsed), None
    with capture(network.module, parsed) as captured:
        out = network(x)
    return {str(tap): captured[str(tap)] for tap in parsed}, out
