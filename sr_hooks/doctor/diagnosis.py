"""What works on a network and what does not, and why: each analysis once, on small photographs."""

from __future__ import annotations

import copy
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
from sr_hooks.doctor.warnings import cautions_of
from sr_hooks.errors import NetworkError, NoImage, SRHooksError
from sr_hooks.hooks.activations import features
from sr_hooks.hooks.layer_list import deep_feature, layers
from sr_hooks.images.image import downsample, read_image
from sr_hooks.inference.calibration import uncalibrated
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import plain_copy

__all__ = ["Diagnosis", "Finding", "examine"]

_SIDE = 24
_CLIP = 40  # the pyramid of an optical flow needs as much
_WINDOW = 8


@dataclass(frozen=True)
class Finding:
    """One analysis on a network: whether it works, what it said, and whether a fault has an explanation."""

    analysis: str
    works: bool
    said: str
    explained: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class Diagnosis:
    """All that was found of a network.

    Attributes:
        name: of the network.
        facts: scale, channels and the like, as they were stated or inferred; empty where it does not run.
        findings: of taps, lam, ddr and faig.
        cautions: what works, and still is to be known.
        cone: of LAM, whether the window's cone was proved ("proved") or why all is computed ("whole: ...").
    """

    name: str
    facts: dict[str, Any]
    findings: tuple[Finding, ...]
    cautions: tuple[str, ...] = ()
    cone: str = ""

    @property
    def works(self) -> bool:
        """Whether every analysis works."""
        return all(finding.works for finding in self.findings)


@dataclass
class _Patient:
    network: Network
    lr: torch.Tensor
    hrs: list[torch.Tensor]
    findings: list[Finding] = field(default_factory=list)
    cone: str = ""

    def ask(self, analysis: str, question: Callable[[], str]) -> None:
        start = time.perf_counter()
        works, explained = False, True
        try:
            said, works = question(), True
        except SRHooksError as error:
            said = str(error)
        except Exception as error:
            said, explained = one_line(error), False
        self.findings.append(Finding(analysis, works, said, explained, time.perf_counter() - start))


def examine(network: Any) -> Diagnosis:
    """Run taps, LAM, DDR and FAIG on a network at the smallest size that says something.

    LAM takes 5 gradients of a window in the middle, DDR 4 photographs' patches of three kinds, FAIG 4 gradients from a
    copy with weights disturbed by 2 %. What they return is thrown away: it is asked only whether they work.

    Args:
        network: a torch module or a Network; stated facts (scale, forward, ...) are taken as they are.

    Raises:
        NetworkError: it is no module.
    """
    network = Network.of(network)
    try:
        with network.prepared():
            facts = _facts(network)
    except NoImage as error:
        return _without_image(network, str(error))
    except SRHooksError as error:
        return Diagnosis(network.name, {}, tuple(Finding(name, False, str(error)) for name in _ANALYSES))
    patient = _patient(network)
    with uncalibrated():
        for name, question in _ANALYSES.items():
            patient.ask(name, lambda question=question: question(patient))  # type: ignore[misc]
        works = patient.findings[0].works
        cautions = cautions_of(network, patient.lr) if works else ()
    return Diagnosis(network.name, facts, tuple(patient.findings), cautions, patient.cone)


def _facts(network: Network) -> dict[str, Any]:
    names = ("scale", "channels", "multiple", "minimum", "square", "input_range")
    return {name: getattr(network, name) for name in names}


def _without_image(network: Network, why: str) -> Diagnosis:
    """Of a network that returns no image: layers and DDR, with its scale stated as 1."""
    twin = copy.copy(network)
    twin._scale = 1
    with twin.prepared():
        facts = {**_facts(twin), "scale": None}
    patient = _patient(twin)
    with uncalibrated():
        for name in ("taps", "ddr"):
            patient.ask(name, lambda name=name: _ANALYSES[name](patient))  # type: ignore[misc]
    nothing = f"no image comes out, so there is nothing to explain: {why}"
    found = {finding.analysis: finding for finding in patient.findings}
    findings = (found["taps"], Finding("lam", False, nothing), found["ddr"], Finding("faig", False, nothing))
    return Diagnosis(network.name, facts, findings, ("taps and DDR want its scale stated: Network(module, scale=1)",))


def _patient(network: Network) -> _Patient:
    """Photographs as the network takes them: a corner with detail of each, in its number of channels."""
    side = max(_CLIP if network.frames else _SIDE, round(_SIDE / network.scale))
    hr = min(round(side * network.scale), 256)
    photos = [read_image(path)[..., 90 : 90 + hr, 90 : 90 + hr] for path in photographs()]
    photos = [
        photo if photo.shape[-1] == hr else _wide(path, hr) for photo, path in zip(photos, photographs(), strict=True)
    ]
    if network.channels == 1:
        photos = [photo.mean(dim=1, keepdim=True) for photo in photos]
    elif network.channels != 3:
        raise NetworkError(
            f"{network.name} takes {network.channels} channels, and an image has 1 or 3: give a function that makes "
            "them of it, Network(module, forward=lambda module, image: module(...))"
        )
    lr = photos[1] if network.scale == 1 else downsample(photos[1], network.scale)
    return _Patient(network, lr, photos)


def _wide(path: Any, side: int) -> torch.Tensor:
    return read_image(path)[..., :side, :side]


def _taps(patient: _Patient) -> str:
    network = patient.network
    x = patient.lr.to(network.device)
    with network.prepared():
        found = layers(network.module, lambda: network.feed(x))
        deep = deep_feature(network.module, found)
        passed = features(network.module, lambda: network.feed(x), [deep])
    shape = "x".join(map(str, passed[str(deep)].shape))
    return f"{len(found)} layers run; auto is {deep}, {shape}"


def _lam(patient: _Patient) -> str:
    network = patient.network
    height, width = network.output_size(*patient.lr.shape[-2:])
    size = min(_WINDOW, height, width)
    window = ((height - size) // 2, (width - size) // 2, size)
    result = lam(network, patient.lr, window=window, steps=5)
    cone = result.scalars["cone"]
    patient.cone = cone.replace("off: ", "whole: ") if isinstance(cone, str) else "proved"
    if result.scalars["nonfinite"] or not result.map.max() > 0:
        raise NetworkError(result.verdict)
    low, high = result.scalars["output_range"]
    return f"a map, completeness gap {result.completeness_gap:.2g} after 5 gradients, output in [{low:.2f}, {high:.2f}]"


def _ddr(patient: _Patient) -> str:
    patch = patient.hrs[0].shape[-1]
    result = ddr(
        patient.network, patient.hrs, layers="auto", patch=patch, patches=4, permutations=19, subsamples=0, tsne=0
    )
    chi = result.scalars["layers"][0]["chi"]
    return f"index {chi:.3g}" if chi is not None else result.verdict


def _faig(patient: _Patient) -> str:
    network = patient.network
    baseline = copy.copy(network)
    baseline.module = plain_copy(network.module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in baseline.module.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                size = parameter.float().square().mean().sqrt().to(parameter)
                parameter.add_(noise * (0.02 * size + 1e-4))
    result = faig(baseline, network, images=patient.hrs[1], steps=4, any_order=True)
    scalars = result.scalars
    if not np.isfinite(result.arrays["scores"]).all():
        raise NetworkError("scores are not finite")
    return f"{scalars['filters']} filters scored, completeness gap {scalars['completeness_gap']:.2g} after 4 gradients"


_ANALYSES: dict[str, Callable[[_Patient], str]] = {"taps": _taps, "lam": _lam, "ddr": _ddr, "faig": _faig}
