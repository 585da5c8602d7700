"""The control network: the same entries of every weight in another order, and the network itself untouched."""

from __future__ import annotations

import torch

from sr_hooks.demo.assets import demo_network
from sr_hooks.faithfulness.shuffled_weights import shuffled


def test_entries_stay_and_their_order_does_not() -> None:
    network = demo_network("baseline")
    before = network.sha256()
    one, again, other = shuffled(network, 0), shuffled(network, 0), shuffled(network, 1)
    assert network.sha256() == before and one.sha256() == again.sha256() != other.sha256()
    copies = dict(one.module.named_parameters())
    for name, parameter in network.module.named_parameters():
        assert torch.equal(parameter.flatten().sort()[0], copies[name].flatten().sort()[0])
        assert torch.equal(parameter, copies[name]) == (parameter.ndim < 2), name
    assert (one.scale, one.multiple, one.channels) == (network.scale, network.multiple, network.channels)
