"""A plain loop that is watched, by a context or by a decorator: what is attached, what is refused, what is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

import sr_hooks
from sr_hooks.adapters.loop import Watch
from sr_hooks.core.registry import registered
from sr_hooks.errors import OptionError, RunStopped, SRHooksError
from tests.conftest import hooks_on
from tests.support.training import HERE, IMAGE, Net, Plugin, Poke, entries


@pytest.fixture(autouse=True)
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Poke.calls.clear()
    monkeypatch.chdir(tmp_path)
    with registered(Plugin(), name="third_party"):
        yield


def test_hooks_on_steps_only_for_those_that_want_them() -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with sr_hooks.watch(net, optimizer, **HERE, poke={"every": 5}):
        assert len(optimizer._optimizer_step_pre_hooks) == 0 and len(optimizer._optimizer_step_post_hooks) == 1
        assert hooks_on(net) == 0
    with sr_hooks.watch(net, optimizer, **HERE, sums={"every": 5}):
        assert len(optimizer._optimizer_step_pre_hooks) == 1


def test_no_images_is_refused() -> None:
    net = Net()
    with pytest.raises(OptionError, match="image must be given"):
        sr_hooks.watch(net, torch.optim.SGD(net.parameters(), 0.1), lam={"windows": [[8, 8, 8]]})


def test_a_foreign_optimizer_is_refused() -> None:
    with pytest.raises(OptionError, match="optimizer that holds"):
        sr_hooks.watch(Net(), torch.optim.SGD(Net().parameters(), 0.1), **HERE, poke={})


def test_a_compiled_network_is_looked_at_uncompiled() -> None:
    net = Net()
    compiled = torch.compile(net, backend="eager")
    with sr_hooks.watch(compiled, torch.optim.SGD(net.parameters(), 0.1), **HERE, poke={"every": 1}) as watching:
        assert isinstance(watching, Watch) and watching.session.networks["raw"] is net


class TestDecorator:
    """`analyze` on a function with a plain loop."""

    @staticmethod
    def trained(**given: Any) -> Any:
        @sr_hooks.analyze(**given)
        def train(steps: int = 6) -> nn.Module:
            net = Net()
            optimizer = torch.optim.SGD(net.parameters(), 0.01)
            other = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.01)
            for _ in range(steps):
                optimizer.zero_grad()
                net(IMAGE).sum().backward()
                other.step()
                optimizer.step()
            train.net = net  # type: ignore[attr-defined]
            return net

        return train

    def test_by_name(self) -> None:
        net = self.trained(network="net", **HERE, poke={"every": 3})()
        assert [e["iteration"] for e in entries()] == [3, 6] and hooks_on(net) == 0
        assert not _global_optimizer_pre_hooks

    def test_without_a_name_the_trained_network_is_found(self, basicsr: Any) -> None:
        self.trained(**HERE, poke={"every": 2})()
        assert [e["iteration"] for e in entries()] == [2, 4, 6]

    def test_from_a_file(self) -> None:
        Path("watch.yml").write_text("sr_hooks: {poke: {every: 2}, budget: off}\n")
        self.trained(network="net", config="watch.yml", image=IMAGE, folder="out")()
        assert [e["iteration"] for e in entries()] == [2, 4, 6]

    def test_it_returns_what_the_function_returns_and_keeps_its_name(self) -> None:
        train = self.trained(network="net", **HERE, poke={"at": 1})
        assert isinstance(train(1), Net) and train.__name__ == "train"

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"network": "nett", "poke": {}}, ["'nett'", "train()", "net"]),
            ({"network": "optimizer", "poke": {}}, ["optimizer", "SGD"]),
            ({"network": "net", "pokee": {}}, ["'pokee'", "poke"]),
            ({"network": "net", "poke": {"layers": "hed"}}, ["'hed'", "head"]),
        ],
    )
    def test_stops_before_training(self, given: dict[str, Any], words: list[str]) -> None:
        with pytest.raises(RunStopped) as caught:
            self.trained(**HERE, **given)()
        for word in words:
            assert word in str(caught.value)
        assert isinstance(caught.value, SystemExit) and isinstance(caught.value, SRHooksError)
        assert not _global_optimizer_pre_hooks and Poke.calls == []

    def test_an_exception_passes_and_nothing_is_left(self) -> None:
        nets = []

        @sr_hooks.analyze(network="net", **HERE, poke={"every": 1})
        def train() -> None:
            net = Net()
            nets.append(net)
            optimizer = torch.optim.SGD(net.parameters(), 0.01)
            net(IMAGE).sum().backward()
            optimizer.step()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            train()
        assert hooks_on(nets[0]) == 0 and not _global_optimizer_pre_hooks
        assert [e["iteration"] for e in entries()] == [1]

    def test_only_functions(self) -> None:
        with pytest.raises(OptionError, match="function that trains"):
            sr_hooks.analyze(Net())

        async def train() -> None: ...

        with pytest.raises(OptionError, match="awaited"):
            sr_hooks.analyze(train)
