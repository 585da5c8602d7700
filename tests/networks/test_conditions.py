"""Conditions that networks are met in: each gives the map of the plain network, or a reason that names the place."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

import sr_hooks
from sr_hooks import Network
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.errors import NetworkError
from sr_hooks.hooks.activations import features
from sr_hooks.networks.unwrap import fold_weights
from tests.conftest import hooks_on
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

WINDOW = (20, 20, 8)


def attribution(network: Any, lr: torch.Tensor, **options: Any) -> np.ndarray:
    result = sr_hooks.lam(network, lr, window=WINDOW, **{"steps": 5, **options})
    assert result.map.max() > 0 and np.isfinite(result.attribution).all()
    return result.attribution


def same(one: np.ndarray, other: np.ndarray, tolerance: float = 1e-5) -> bool:
    return float(np.abs(one - other).max()) <= tolerance * float(np.abs(other).max())


@pytest.fixture
def plain(small_lr: torch.Tensor) -> np.ndarray:
    return attribution(Tiny(), small_lr)


class Body(nn.Module):
    """Tiny with its middle run by `how(function, x)`, and a normalisation between."""

    def __init__(self, how: Any = None, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = Tiny()
        self.middle = middle or nn.Identity()
        self.how = how or (lambda function, x: function(x))

    def forward(self, x: torch.Tensor) -> Any:
        inner = self.inner
        base = F.interpolate(x, scale_factor=2, mode="nearest")
        body = self.how(lambda h: self.middle(inner.act(inner.head(h))), x)
        return base + 0.1 * inner.shuffle(inner.tail(body))


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float16, 0.05), (torch.bfloat16, 0.3)])
def test_half_precision_weights(small_lr, plain, kind, tolerance):
    network = Tiny().to(kind)
    assert same(attribution(network, small_lr), plain, tolerance)
    assert all(p.dtype == kind for p in network.parameters())


def test_under_autocast_all_is_float32_as_without(small_lr, plain):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(attribution(Tiny(), small_lr), plain)


def test_data_parallel_and_distributed(small_lr, plain, tmp_path):
    import torch.distributed as dist

    assert same(attribution(nn.DataParallel(Tiny()), small_lr), plain)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(torch.compile(Tiny(), backend="eager"))
        assert same(attribution(wrapped, small_lr), plain), "and what it wraps may be compiled"
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("cone", ["auto", "off"])
def test_activation_checkpoints(small_lr, plain, reentrant, cone):
    network = Body(lambda function, x: checkpoint(function, x, use_reentrant=reentrant))
    assert same(attribution(network, small_lr, cone=cone), plain)
    both = sr_hooks.lam(network, small_lr, window=[WINDOW, (4, 4, 8)], steps=3, cone="off")
    alone = sr_hooks.lam(Tiny(), small_lr, window=(4, 4, 8), steps=3, cone="off")
    assert same(both[1].attribution, alone.attribution), "two windows from one forward"


def test_faig_of_reentrant_checkpoints(photo):
    def scores(how: Any) -> np.ndarray:
        target, baseline = Body(how), Body(how)
        with torch.no_grad():
            baseline.inner.tail.weight.mul_(0.9)
        hr = photo[..., :32, :32]
        return sr_hooks.faig(baseline, target, images=hr, steps=3, any_order=True).arrays["scores"]

    ours = scores(lambda function, x: checkpoint(function, x.clone().requires_grad_(), use_reentrant=True))
    assert same(ours, scores(None)) and ours.max() > 0


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def _parametrised(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(module, "weight", Halved(), unsafe=True)
    return module


DERIVED = {
    "weight_norm, old": nn.utils.weight_norm,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm, old": nn.utils.spectral_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "a parametrisation of one's own": _parametrised,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", DERIVED)
def test_derived_weights(small_lr, photo, kind):
    """LAM is that of the weights which they come to; FAIG scores these, and changes nothing of the live network."""

    def normalised(factor: float) -> Tiny:
        network = Tiny()
        with torch.no_grad():
            network.tail.weight.mul_(factor)
        DERIVED[kind](network.head)
        DERIVED[kind](network.tail)
        return network.eval()

    target, baseline = normalised(1.0), normalised(0.9)
    with torch.no_grad():
        for name, parameter in baseline.named_parameters():
            parameter.mul_(0.95 if "tail" in name else 1.0)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    fixed = fold_weights(target)
    assert same(attribution(target, small_lr), attribution(fixed, small_lr))
    hr = photo[..., :32, :32]
    found = sr_hooks.faig(baseline, target, images=hr, steps=3, any_order=True)
    known = sr_hooks.faig(fold_weights(baseline), fixed, images=hr, steps=3, any_order=True)
    assert found.scalars["filters"] == Filters.of(Tiny()).count
    assert np.array_equal(found.arrays["scores"], known.arrays["scores"]) and found.arrays["scores"].max() > 0
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_frozen_parameters(small_lr, plain):
    network = Tiny().requires_grad_(False)
    network.tail.bias.requires_grad_(True)
    assert same(attribution(network, small_lr), plain)
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["tail.bias"]


@pytest.mark.parametrize("middle", [nn.BatchNorm2d(8), nn.Dropout2d(0.5)])
def test_training_mode(small_lr, middle):
    """A network in training is looked at as it is in evaluation, and goes on in training."""
    network = Body(middle=copy.deepcopy(middle)).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    found = attribution(network, small_lr)
    assert all(part.training for part in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert same(found, attribution(copy.deepcopy(network).eval(), small_lr))


class Shared(nn.Module):
    """One convolution and one activation in place, run four times."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x
        for _ in range(4):
            h = self.act(self.conv(h))
        return x + h


def test_shared_modules(small_lr, photo):
    network = Shared()
    found = sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=5)
    assert same(found.attribution, sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=5, cone="off").attribution)
    found = sr_hooks.ddr(network, photo, layers=["auto", "act#1"], patch=32, patches=6, permutations=9, tsne=0)
    assert [layer["layer"] for layer in found.scalars["layers"]] == ["conv#3:in", "act#1"]
    with pytest.raises(sr_hooks.SRHooksError, match="conv runs 4 times in a forward: say which with conv#0 to #3"):
        sr_hooks.ddr(network, photo, layers="conv", patch=32, patches=6, permutations=9, tsne=0)


class WritesInPlace(nn.Module):
    """Writes outside of its layers into what their backward needs, as large-kernel networks do in evaluation."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.head, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2)
        self.tail, self.in_place = nn.Conv2d(8, 3, 3, padding=1), in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.head(x).sigmoid()
        if self.in_place:
            h[:, :4] = self.body(h[:, :4])
        else:
            h = torch.cat([self.body(h[:, :4]), h[:, 4:]], 1)
        return self.tail(h)


@pytest.mark.parametrize("cone", ["auto", "off"])
def test_writes_in_place_outside_of_layers(small_lr, photo, cone):
    network, plain = WritesInPlace(True), WritesInPlace(False)
    with pytest.raises(RuntimeError, match="inplace"):
        network(small_lr.clone().requires_grad_()).sum().backward()
    assert same(sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=5, cone=cone).attribution,
                sr_hooks.lam(plain, small_lr, window=(8, 8, 8), steps=5, cone=cone).attribution)  # fmt: skip

    def scores(kind: bool) -> np.ndarray:
        target, baseline = WritesInPlace(kind), WritesInPlace(kind)
        with torch.no_grad():
            baseline.body.weight.mul_(0.9)
        return sr_hooks.faig(baseline, target, images=photo[..., :24, :24], steps=3, any_order=True).arrays["scores"]

    assert same(scores(True), scores(False))


class Structured(nn.Module):
    """Parts that give tuples and dicts, and take keyword arguments."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tiny = Tiny()

        def forward(self, *, image: torch.Tensor, strength: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            features = self.tiny.act(self.tiny.head(image))
            return features, {"out": self.tiny(image) * strength, "features": features}

    def __init__(self) -> None:
        super().__init__()
        self.pair = self.Pair()

    def forward(self, *, lq: torch.Tensor, strength: float = 1.0) -> dict[str, Any]:
        features, found = self.pair(image=lq, strength=strength)
        return {"features": features, "stages": [found["out"]]}


def test_tuples_dicts_and_keyword_arguments(small_lr, plain, photo):
    assert same(attribution(Structured(), small_lr), plain), "one image alone comes out, and one argument goes in"
    stated = Network(Structured(), forward={"lq": "image", "strength": 2.0}, output=lambda out: out["stages"][0])
    assert same(stated(small_lr).detach().numpy(), 2 * Tiny()(small_lr).detach().numpy())
    assert stated.describe()["forward"] == {"lq": "image", "strength": 2.0}
    found = sr_hooks.ddr(Structured(), photo, layers="pair", patch=32, patches=6, permutations=9, tsne=0)
    assert found.scalars["layers"][0]["layer"] == "pair", "of several tensors the first is tapped"


def test_forward_that_takes_more_than_an_image(small_lr, plain):
    class Blind(Tiny):
        def forward(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * sigma

    with pytest.raises(NetworkError, match=r"forward takes \(x, sigma\).*forward=\{'sigma': \.\.\.\}"):
        attribution(Blind(), small_lr)
    assert same(attribution(Network(Blind(), forward={"sigma": 1.0}), small_lr), plain)
    called = Network(Blind(), forward=lambda module, image: module(image, torch.ones(len(image), 1, 1, 1)))
    assert same(attribution(called, small_lr), plain)
    with pytest.raises(NetworkError, match="forward is 3; give keyword arguments as a mapping"):
        Network(Blind(), forward=3)


def _without_gradients(function: Any, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return function(x)


class Lost(nn.Module):
    """Gradients are lost in `body`, in the way named."""

    class Ends(nn.Module):
        def __init__(self, way: str) -> None:
            super().__init__()
            self.conv, self.way = nn.Conv2d(3, 3, 3, padding=1), way

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.way == "no_grad":
                return _without_gradients(self.conv, x)
            if self.way == "numpy":
                return torch.from_numpy(self.conv(x).numpy() + 1)
            return self.conv(x).detach()

    def __init__(self, way: str) -> None:
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 3, 3, padding=1), self.Ends(way)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.head(x))


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("detach", "no gradient reaches the input of Lost: it is lost in its part body, which detaches"),
        ("no_grad", "no gradient reaches the input of Lost: it is lost in its part body, which turns gradients off"),
        ("numpy", "leaves torch for numpy, so no gradient can reach its input, in its part body"),
    ],
)
def test_where_a_gradient_is_lost(small_lr, way, said):
    network = Lost(way)
    with pytest.raises(NetworkError, match=said):
        sr_hooks.lam(network, small_lr, window=(8, 8, 8))
    assert hooks_on(network) == 0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["whole", "part", "in place", "part in place"])
def test_compiled_networks_are_looked_at_as_they_were_written(small_lr, plain, where):
    network: nn.Module = Tiny()
    if where == "whole":
        network = torch.compile(network, backend="eager")
    elif where == "part":
        network.head = torch.compile(network.head, backend="eager")
    else:
        (network if where == "in place" else network.tail).compile(backend="eager")
    network(small_lr)  # compiled now: hooks that are added from here on would not fire in it
    assert same(attribution(network, small_lr), plain)
    assert same(attribution(network, small_lr, cone="off"), plain)
    looked = Network(network)
    assert looked.scale == 2
    with looked.prepared():
        kept = features(looked.module, lambda: looked.feed(small_lr), ["act"])
    assert kept["act"].shape == (1, 8, 24, 24)
