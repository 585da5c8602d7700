"""Ctrl-C at any moment: nothing is lost, and it still ends the program."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

from sr_hooks.core.registry import registered
from sr_hooks.hookspecs import hookimpl
from sr_hooks.training import preserved
from sr_hooks.training.guard.interrupts import Deferral
from tests.support.training import HERE, IMAGE, Net, Poke, loop


def trained(count: int = 6) -> tuple[nn.Module, list[Any]]:
    net = nn.Sequential(*[nn.Conv2d(3, 3, 3) for _ in range(count)])
    net(torch.rand(1, 3, 32, 32)).sum().backward()
    net[0].register_forward_hook(lambda *_: None)
    return net, [(p, p.grad, p.detach().clone()) for p in net.parameters()]


def is_whole(net: nn.Module, before: list[Any]) -> bool:
    return (
        all(p.grad is grad and torch.equal(p.detach(), bits) and p.requires_grad for p, grad, bits in before)
        and net.training
        and len(net[0]._forward_hooks) == 1
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def test_ctrl_c_at_any_moment_of_saving_and_restoring() -> None:
    """A timer of the system does what Ctrl-C does, at 300 moments from before the block to after it."""
    interrupted = 0
    net, before = trained()
    begin = time.perf_counter()
    for _ in range(20):
        with preserved(net):
            net.eval()
    length = (time.perf_counter() - begin) / 20
    generator = random.Random(0)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, max(generator.random() * length * 1.2, 1e-6))
                with preserved(net):
                    net.eval()
                    net[0].weight.data.zero_()
                time.sleep(length * 3)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert is_whole(net, before)
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert interrupted > 250, "each Ctrl-C still ends what runs"


class Slow(nn.Module):
    """Its weights take a while to save and to restore, as those of a large network do."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.at, self.looks = at, 0

    def named_buffers(self, *args: Any, **kwargs: Any) -> Any:
        self.looks += 1
        if self.looks == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().named_buffers(*args, **kwargs)


def test_ctrl_c_while_saving_is_raised_after_all_is_back() -> None:
    net = Slow(1)
    net.conv(torch.rand(1, 3, 8, 8)).sum().backward()
    gradient = net.conv.weight.grad
    ran = False
    with pytest.raises(KeyboardInterrupt), preserved(net):
        ran = True
    assert not ran and net.conv.weight.grad is gradient and gradient is not None


def test_another_signal_of_the_program_waits_too() -> None:
    class Preempted(Exception):
        pass

    def handler(number: int, frame: FrameType | None) -> None:
        raise Preempted

    net, before = trained(2)
    old = signal.signal(signal.SIGUSR1, handler)
    deferral = Deferral(test_another_signal_of_the_program_waits_too.__code__)
    try:
        deferral.install()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert deferral.pending == [signal.SIGUSR1]
        with pytest.raises(Preempted):
            deferral.release()
        assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert is_whole(net, before)


def test_in_a_thread_there_are_no_signals_to_wait_for() -> None:
    net, before = trained(2)
    done: list[bool] = []

    def work() -> None:
        with preserved(net):
            net.eval()
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done and is_whole(net, before)


def test_an_error_that_is_raised_inside_the_undo_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An asynchronous exception passes every signal handler; the step that it hits is done again."""
    from sr_hooks.training.guard import network_state

    net, before = trained()
    original, calls = network_state.restore_hooks, []

    def once(*args: Any) -> bool:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(network_state, "restore_hooks", once)
    with pytest.raises(KeyboardInterrupt), preserved(net):
        net.eval()
    assert is_whole(net, before)


class Terminated(Poke):
    """A run during which the machine asks the program to end, as a batch system does before its time is up."""

    name = "terminated"

    def run(self, network: Any, images: Any, options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().run(network, images, options)


class Plugin:
    @hookimpl
    def register_analyses(self) -> list[Any]:
        return [Terminated]


def test_the_programs_own_handler_may_end_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """SystemExit of a plugin is contained; that of the program's handler of SIGTERM is none of a plugin's."""
    monkeypatch.chdir(tmp_path)

    def end(*_: Any) -> None:
        raise SystemExit(143)

    old = signal.signal(signal.SIGTERM, end)
    try:
        with registered(Plugin()), pytest.raises(SystemExit) as ended:
            loop(watch={**HERE, "terminated": {"at": 2}})
    finally:
        signal.signal(signal.SIGTERM, old)
    assert ended.value.code == 143
    assert IMAGE.shape == (1, 3, 16, 16) and Net().training
