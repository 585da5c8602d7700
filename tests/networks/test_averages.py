"""Moving averages of every making are the network inside: its names, counts, SHA-256 and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks import Network
from sr_hooks.errors import NetworkError
from sr_hooks.networks.unwrap import unwrap
from tests.support.networks import Tiny


class EMAModel:
    """A stand-in for diffusers' EMAModel: a list of parameters, without a network."""

    def __init__(self, parameters, model_cls=None, model_config=None):
        self.shadow_params = [p.clone().detach() for p in parameters]
        self.decay, self.model_cls, self.model_config = 0.9, model_cls, model_config

    def step(self, parameters):
        for average, parameter in zip(self.shadow_params, parameters, strict=True):
            average.sub_((1 - self.decay) * (average - parameter.detach()))


class Configured(Tiny):
    @classmethod
    def from_config(cls, config):
        return cls(**config)


class LitEma(nn.Module):
    """A stand-in for latent diffusion's LitEma: buffers under names without dots."""

    def __init__(self, model):
        super().__init__()
        self.m_name2s_name = {name: name.replace(".", "") for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            self.register_buffer(self.m_name2s_name[name], parameter.detach().clone())


def of_torch(module):
    average = torch.optim.swa_utils.AveragedModel(module)
    average.update_parameters(module)
    return average


def of_ema_pytorch(module):
    package = pytest.importorskip("ema_pytorch")
    return package.EMA(module, beta=0.9, update_after_step=0)


def of_ema_pytorch_alone(module):
    package = pytest.importorskip("ema_pytorch")
    return package.EMA(module, beta=0.9, include_online_model=False)


def of_diffusers(module):
    package = pytest.importorskip("diffusers.training_utils", reason="diffusers is not installed here")
    average = package.EMAModel(module.parameters(), decay=0.9, model_cls=Configured, model_config={"scale": 2})
    average.step(module.parameters())
    return average


def of_timm(name):
    return lambda module: getattr(pytest.importorskip("timm.utils"), name)(module, decay=0.9)


AVERAGES = {
    "torch": of_torch,
    "torch around DataParallel": lambda module: of_torch(nn.DataParallel(module)),
    "ema_pytorch": of_ema_pytorch,
    "ema_pytorch without the online model": of_ema_pytorch_alone,
    "timm ModelEma": of_timm("ModelEma"),
    "timm ModelEmaV2": of_timm("ModelEmaV2"),
    "timm ModelEmaV3": of_timm("ModelEmaV3"),
    "EMAModel with its class (stand-in)": lambda m: EMAModel(m.parameters(), Configured, {"scale": 2}),
    "diffusers EMAModel": of_diffusers,
    "compiled": lambda module: of_torch(torch.compile(module, backend="eager")),
}


@pytest.mark.parametrize("row", AVERAGES)
def test_an_average_is_the_network_inside(row: str) -> None:
    plain = Network(Tiny())
    network = Network(AVERAGES[row](Tiny()))
    assert list(network.module.state_dict()) == list(plain.module.state_dict())
    assert network.sha256() == plain.sha256()
    record, expected = network.describe(), plain.describe()
    assert (record["parameters"], record["scale"]) == (expected["parameters"], expected["scale"])


@pytest.mark.parametrize("row", ["torch", "ema_pytorch", "timm ModelEmaV3"])
def test_no_filter_is_scored_twice(row: str, small_lr: torch.Tensor) -> None:
    torch.manual_seed(0)
    hr = torch.rand(1, 3, 48, 48)
    module = Tiny()
    baseline = Tiny()
    with torch.no_grad():
        for parameter in baseline.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    expected = sr_hooks.faig(baseline, Network(module), images=hr, steps=4, any_order=True)
    result = sr_hooks.faig(baseline, Network(AVERAGES[row](module)), images=hr, steps=4, any_order=True)
    assert result.scalars["filters"] == expected.scalars["filters"]
    np.testing.assert_array_equal(result.arrays["scores"], expected.arrays["scores"])


def test_an_average_without_a_network_takes_the_networks_place_beside_one() -> None:
    module = Tiny()
    average = EMAModel(module.parameters())
    for refused in (average, LitEma(module)):
        with pytest.raises(NetworkError, match="holds the average of parameters without a network"):
            Network(refused)  # type: ignore[arg-type]
    inside = unwrap(average, like=module)
    with torch.no_grad():
        module.head.weight.add_(1)
    average.step(module.parameters())
    assert torch.equal(inside.head.weight, average.shadow_params[0]), "it follows the average"
    assert not torch.equal(inside.head.weight, module.head.weight)
    with pytest.raises(NetworkError, match="parameters that are not those of Tiny"):
        unwrap(EMAModel(Tiny(features=4).parameters()), like=module)


def test_a_network_with_a_part_called_module_is_no_average() -> None:
    class Holder(nn.Module):
        decay = 0.5

        def __init__(self):
            super().__init__()
            self.module = Tiny()

        def forward(self, x):
            return self.module(x) * self.decay

    holder = Holder()
    assert Network(holder).module is holder


def test_diffusers_own_average_beside_its_network() -> None:
    package = pytest.importorskip("diffusers.training_utils", reason="diffusers is not installed here")
    module = Tiny()
    average = package.EMAModel(module.parameters(), decay=0.5)
    with pytest.raises(NetworkError, match="holds the average of parameters without a network"):
        Network(average)
    inside = unwrap(average, like=module)
    for _ in range(3):
        with torch.no_grad():
            module.head.weight.add_(1)
        average.step(module.parameters())
    copied = Tiny()
    average.copy_to(copied.parameters())
    assert Network(inside).sha256() == Network(copied).sha256() != Network(module).sha256()
