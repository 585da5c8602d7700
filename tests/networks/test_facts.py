"""Facts of a network: where each is from, inferred once, shared by the views of a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks import Network
from sr_hooks.demo.assets import demo_network
from sr_hooks.errors import NetworkError
from sr_hooks.networks.loading.checkpoints import read_weights
from sr_hooks.networks.loading.loaders import Loaded
from tests.support.networks import Tiny


def origins(network: Network) -> dict[str, str]:
    return dict(network.facts.origins)


def test_each_fact_says_where_it_is_from() -> None:
    inferred = origins(Network(Tiny()))
    assert inferred["scale"] == inferred["multiple"] == inferred["channels"] == inferred["frames"] == "inferred"
    assert inferred["input_range"] == "guessed", "a module without weights from a file does not tell its range"
    stated = origins(Network(Tiny(), scale=2, multiple=4, input_range=1))
    assert (stated["scale"], stated["multiple"], stated["input_range"]) == ("stated", "stated", "stated")
    assert stated["channels"] == "inferred"
    unrun = origins(Network(nn.Identity(), scale=1, multiple=1, channels=3))
    assert unrun["frames"] == "guessed" and unrun["channels"] == "stated"


def test_a_module_that_states_its_range_is_not_guessed() -> None:
    module = Tiny()
    module.rgb_range = 255
    network = Network(module)
    assert (network.input_range, origins(network)["input_range"]) == (255, "inferred")


def test_facts_of_a_file_say_so(tmp_path) -> None:
    demo_network().save(tmp_path / "demo.pth")
    read = Network.from_file(tmp_path / "demo.pth")
    assert origins(read)["scale"] == "inferred", "the demo's file states nothing"
    assert origins(read)["input_range"] == "inferred", "it restores better than interpolation where white is 1"
    loaded = Loaded(Tiny(), "tiny", None, {"scale": 2, "multiple": 8})
    network = Network._of(loaded, {"multiple": 4})
    assert (origins(network)["scale"], origins(network)["multiple"]) == ("file", "stated")
    assert (network.scale, network.multiple) == (2, 4)


class Brighter(nn.Module):
    """Adds 1, which is little where white is 255 and much where white is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.one


def test_the_range_of_trained_weights_is_inferred_from_the_output(tmp_path) -> None:
    torch.save({"params": Brighter().state_dict()}, tmp_path / "brighter.pth")
    weights = read_weights(tmp_path / "brighter.pth")
    network = Network(Brighter(), weights=weights)
    assert (network.input_range, origins(network)["input_range"]) == (255, "inferred")
    assert origins(Network(Brighter(), weights=weights, mean=0.5))["input_range"] == "guessed"


def test_facts_are_inferred_once_and_views_share_them(small_lr: torch.Tensor) -> None:
    module, runs = Tiny(), []
    handle = module.register_forward_hook(lambda *_: runs.append(1))
    network = Network(module)
    assert network.scale == 2 and runs
    count = len(runs)
    view = network.with_weights({name: p.detach() * 0 for name, p in module.named_parameters()})
    assert view.facts is network.facts and len(runs) == count
    assert not torch.equal(view(small_lr), network(small_lr)) and view.backward is network.backward
    handle.remove()
    other = network.with_module(Tiny())
    assert other.facts is network.facts and other.backward is not network.backward


def test_cones_of_one_module_with_two_ranges_are_kept_apart(small_lr: torch.Tensor) -> None:
    module = Tiny()
    options = {"window": (20, 20, 8), "steps": 5}
    for white in (1, 255):
        network = Network(module, input_range=white)
        cone = sr_hooks.lam(network, small_lr, **options).attribution
        whole = sr_hooks.lam(network, small_lr, cone="off", **options).attribution
        assert np.abs(cone - whole).max() <= 1e-5 * np.abs(whole).max(), f"white is {white}"


def test_an_error_of_a_users_function_in_a_hook_is_not_the_networks(small_lr: torch.Tensor) -> None:
    def fail(feature: torch.Tensor) -> torch.Tensor:
        raise ValueError("mine")

    network = Network(Tiny())
    assert network.scale == 2
    with sr_hooks.intervene(network.module, {"act": fail}), pytest.raises(ValueError, match=r"^mine$"):
        network(small_lr)

    class Failing(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("its own")

    with pytest.raises(NetworkError, match="its own"):
        Network(Failing())(small_lr)
