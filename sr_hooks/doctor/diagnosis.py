"""Diagnose a network: run each analysis once on small photographs, and report what works and why the rest does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.ddr.analysis import ddr
from sr_hooks.analyses.faig.analysis import faig
from sr_hooks.analyses.lam.analysis import lam
from sr_hooks.core.torch_errors import one_line
from sr_hooks.demo.assets import photographs
from sr_hooks.doctor.warnings import network_warnings
from sr_hooks.errors import NetworkError, NoImage, SRHooksError
from sr_hooks.hooks.activations import features
from sr_hooks.hooks.layer_list import deep_feature, layers
from sr_hooks.images.image import downsample, read_image
from sr_hooks.inference.calibration import uncalibrated
from sr_hooks.networks.network import Network
from sr_hooks.networks.pixel_range import channels_in_words
from sr_hooks.networks.unwrap import plain_copy

__all__ = ["Diagnosis", "Finding", "examine"]

_SIDE = 24
_CLIP = 40  # the smallest side that the pyramid of an optical flow accepts
_WINDOW = 8


@dataclass(frozen=True)
class Finding:
    """The outcome of one analysis: whether it works, its message, and whether an error of it has an explanation."""

    analysis: str
    works: bool
    message: str
    explained: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a network.

    Attributes:
        name: the network's name.
        facts: scale, channels and other facts, stated or inferred; empty if the network does not run.
        findings: the outcomes of taps, lam, ddr and faig.
        warnings: sentences about what works but needs care.
        cone: "proved" if LAM computes only the window's cone, else "whole: " and the reason.
    """

    name: str
    facts: dict[str, Any]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    cone: str = ""

    @property
    def works(self) -> bool:
        """Whether every analysis works."""
        return all(finding.works for finding in self.findings)


@dataclass
class _Examination:
    """The network, its test images, and the findings so far."""

    network: Network
    lr: torch.Tensor
    hrs: list[torch.Tensor]
    findings: list[Finding] = field(default_factory=list)
    cone: str = ""

    def run(self, analysis: str, question: Callable[[], str]) -> None:
        start = time.perf_counter()
        works, explained = False, True
        try:
            message, works = question(), True
        except SRHooksError as error:
            message = str(error)
        except (Exception, SystemExit) as error:
            message, explained = one_line(error), False
        self.findings.append(Finding(analysis, works, message, explained, time.perf_counter() - start))


def examine(network: Any) -> Diagnosis:
    """Run taps, LAM, DDR and FAIG on a network at the smallest useful size.

    LAM takes 5 gradients of a window in the middle. DDR takes patches of 4 photographs with three degradations. FAIG
    takes 4 gradients from a copy whose weights are disturbed by 2 %. The results are thrown away: the diagnosis only
    tells whether each analysis works.

    Args:
        network: a torch module or a Network; stated facts (scale, forward, ...) are not checked.

    Raises:
        NetworkError: the argument is no module.
    """
    network = Network.of(network)
    try:
        with network.prepared():
            facts = _facts(network)
    except NoImage as error:
        reason = str(error)
        return _part_by_part(network, {}, lambda: _without_image(network, reason))
    except SRHooksError as error:
        return _nothing_works(network, {}, str(error))
    except (Exception, SystemExit) as error:
        return _nothing_works(network, {}, one_line(error), explained=False)
    return _part_by_part(network, facts, lambda: _examined(network, facts))


def _examined(network: Network, facts: dict[str, Any]) -> Diagnosis:
    examination = _examination(network)
    with uncalibrated():
        for name, question in _ANALYSES.items():
            examination.run(name, lambda question=question: question(examination))  # type: ignore[misc]
        works = examination.findings[0].works
        warnings = _warnings(network, examination.lr) if works else ()
    return Diagnosis(network.name, facts, tuple(examination.findings), warnings, examination.cone)


def _part_by_part(network: Network, facts: dict[str, Any], examined: Callable[[], Diagnosis]) -> Diagnosis:
    """A diagnosis; where its test images cannot be made, one with the facts and the reason."""
    try:
        return examined()
    except SRHooksError as error:
        return _nothing_works(network, facts, str(error))
    except (Exception, SystemExit) as error:
        return _nothing_works(network, facts, one_line(error), explained=False)


def _nothing_works(network: Network, facts: dict[str, Any], reason: str, *, explained: bool = True) -> Diagnosis:
    return Diagnosis(network.name, facts, tuple(Finding(name, False, reason, explained) for name in _ANALYSES))


def _warnings(network: Network, x: torch.Tensor) -> tuple[str, ...]:
    """The network's warnings; where they cannot be found out, that itself is one."""
    try:
        return network_warnings(network, x)
    except (Exception, SystemExit) as error:
        return (f"what needs care could not be examined: {one_line(error)}",)


def _facts(network: Network) -> dict[str, Any]:
    names = ("scale", "channels", "multiple", "minimum", "square", "input_range")
    facts = {name: getattr(network, name) for name in names}
    if network.facts.stretch != (1, 1):
        facts["stretch"] = list(network.facts.stretch)
    return {**facts, "channels_are": channels_in_words(network.channels, network.bands)}


def _without_image(network: Network, why: str) -> Diagnosis:
    """The diagnosis of a network that returns no image: only taps and DDR, with the scale set to 1."""
    twin = network.with_scale(1)
    with twin.prepared():
        facts = {**_facts(twin), "scale": None}
    examination = _examination(twin)
    with uncalibrated():
        for name in ("taps", "ddr"):
            examination.run(name, lambda name=name: _ANALYSES[name](examination))  # type: ignore[misc]
    nothing = f"no image comes out, so there is nothing to explain: {why}"
    findings_by_name = {finding.analysis: finding for finding in examination.findings}
    findings = (
        findings_by_name["taps"],
        Finding("lam", False, nothing),
        findings_by_name["ddr"],
        Finding("faig", False, nothing),
    )
    return Diagnosis(network.name, facts, findings, ("taps and DDR want its scale stated: Network(module, scale=1)",))


def _examination(network: Network) -> _Examination:
    """Prepare the test images: a detailed crop of each photograph, with the network's number of channels."""
    side = max(_CLIP if network.frames else _SIDE, round(_SIDE / network.scale))
    hr = min(round(side * network.scale), 256)
    photos = [read_image(path)[..., 90 : 90 + hr, 90 : 90 + hr] for path in photographs()]
    photos = [
        photo if photo.shape[-1] == hr else _top_left(path, hr)
        for photo, path in zip(photos, photographs(), strict=True)
    ]
    photos = [_with_channels(photo, network.channels) for photo in photos]
    lr = photos[1] if network.scale == 1 else downsample(photos[1], network.scale)
    return _Examination(network, lr, photos)


def _with_channels(photo: torch.Tensor, channels: int) -> torch.Tensor:
    """A photograph as a network takes it: grey, a stereo pair whose right view is moved, or bands of mixed colours."""
    if channels == 1:
        return photo.mean(dim=1, keepdim=True)
    if channels == 6:
        return torch.cat([photo, photo.roll(2, dims=-1)], dim=1)
    if channels == 3:
        return photo
    shares = torch.linspace(0, 1, channels).view(1, channels, 1, 1)
    return (1 - shares) * photo[:, :1] + shares * photo[:, 2:]


def _top_left(path: Any, side: int) -> torch.Tensor:
    return read_image(path)[..., :side, :side]


def _taps(examination: _Examination) -> str:
    network = examination.network
    x = examination.lr.to(network.device)
    with network.prepared():
        all_layers = layers(network.module, lambda: network.feed(x))
        deep = deep_feature(network.module, all_layers)
        captured = features(network.module, lambda: network.feed(x), [deep])
    shape = "x".join(map(str, captured[str(deep)].shape))
    return f"{len(all_layers)} layers run; auto is {deep}, {shape}"


def _lam(examination: _Examination) -> str:
    network = examination.network
    height, width = network.output_size(*examination.lr.shape[-2:])
    size = min(_WINDOW, height, width)
    window = ((height - size) // 2, (width - size) // 2, size)
    result = lam(network, examination.lr, window=window, steps=5)
    cone = result.scalars["cone"]
    examination.cone = cone.replace("off: ", "whole: ") if isinstance(cone, str) else "proved"
    if result.scalars["nonfinite"] or not result.map.max() > 0:
        raise NetworkError(result.verdict)
    low, high = result.scalars["output_range"]
    return f"a map, completeness gap {result.completeness_gap:.2g} after 5 gradients, output in [{low:.2f}, {high:.2f}]"


def _ddr(examination: _Examination) -> str:
    patch = examination.hrs[0].shape[-1]
    result = ddr(
        examination.network,
        examination.hrs,
        layers="auto",
        patch=patch,
        patches=4,
        permutations=19,
        subsamples=0,
        tsne=0,
    )
    chi = result.scalars["layers"][0]["chi"]
    return f"index {chi:.3g}" if chi is not None else result.verdict


def _faig(examination: _Examination) -> str:
    network = examination.network
    baseline = network.with_module(plain_copy(network.module))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in baseline.module.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                size = parameter.float().square().mean().sqrt().to(parameter)
                parameter.add_(noise * (0.02 * size + 1e-4))
    result = faig(baseline, network, images=examination.hrs[1], steps=4, any_order=True)
    scalars = result.scalars
    if not np.isfinite(result.arrays["scores"]).all():
        raise NetworkError("scores are not finite")
    return f"{scalars['filters']} filters scored, completeness gap {scalars['completeness_gap']:.2g} after 4 gradients"


_ANALYSES: dict[str, Callable[[_Examination], str]] = {"taps": _taps, "lam": _lam, "ddr": _ddr, "faig": _faig}
