"""Change a network between two calls of LAM, and compare the map with that of the whole network as it is now."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from benchmarks.attacks.outcome import Outcome, limited
from sr_hooks.attribution.receptive_field.proved_cones import AGREEMENT
from tests.attribution.receptive_field import test_changed_networks as changed

_STEPS, _WINDOW = 5, (24, 30, 8)
Change = Callable[[random.Random, changed.Changeable, ExitStack], None]


def _of_tests(name: str) -> Change:
    return lambda dice, module, stack: changed.CHANGES[name](module)


def _dilation(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    part = dice.choice([module.a, module.b, module.c])
    part.dilation = part.padding = (dice.randint(1, 9),) * 2


def _factor(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    module.factors[dice.randint(0, 1)] = dice.uniform(-9, 9)


def _shift(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    module.shift = (dice.randint(-20, 20), dice.randint(-20, 20))


def _weights(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    part = dice.choice([module.a, module.b, module.c])
    with torch.no_grad():
        part.weight.copy_(part.weight.flip(0) * dice.uniform(-3, 3))


def _new_parameter(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    module.b.weight = nn.Parameter(
        torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(dice.randint(0, 99)))
    )


def _global(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    stack.enter_context(mock.patch.object(changed, "GAIN", dice.uniform(-5, 5)))


def _global_list(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    stack.enter_context(mock.patch.dict(changed.STRENGTHS, {"factors": [dice.uniform(-5, 5)]}))


def _class_value(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    stack.enter_context(mock.patch.dict(changed.Changeable.table, {"bias": dice.uniform(-5, 5)}))


def _class_method(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    side = dice.choice([3, 5, 7])
    stack.enter_context(
        mock.patch.object(changed.Changeable, "act", lambda self, x: F.avg_pool2d(torch.sin(x), side, 1, side // 2))
    )


def _hook(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    roll = dice.randint(1, 12)
    handle = module.b.register_forward_hook(lambda part, args, out: out.roll(roll, 2))
    stack.callback(handle.remove)


def _pre_hook(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    factor = dice.uniform(-3, 3)
    handle = module.c.register_forward_pre_hook(lambda part, args: (args[0] * factor,))
    stack.callback(handle.remove)


def _backward_hook(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    handle = module.b.register_full_backward_hook(lambda part, into, out: tuple(g * 0.3 for g in into if g is not None))
    stack.callback(handle.remove)


def _hook_on_all(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    def hook(part: nn.Module, args: Any, out: Any) -> Any:
        return out.flip(-2) if part is module.a else None

    handle = nn.modules.module.register_module_forward_hook(hook)
    stack.callback(handle.remove)


def _function_of_torch(dice: random.Random, module: changed.Changeable, stack: ExitStack) -> None:
    plain = torch.sin
    stack.enter_context(mock.patch.object(torch, "sin", lambda x: plain(1.7 * x)))


CHANGES: dict[str, Change] = {
    **{name: _of_tests(name) for name in changed.CHANGES},
    "a random dilation": _dilation,
    "a random factor": _factor,
    "a random shift": _shift,
    "random weights": _weights,
    "a new parameter": _new_parameter,
    "a global value": _global,
    "a global list": _global_list,
    "a value of the class": _class_value,
    "a method of the class": _class_method,
    "a forward hook": _hook,
    "a forward pre-hook": _pre_hook,
    "a backward hook": _backward_hook,
    "a hook on all modules": _hook_on_all,
    "a function of torch": _function_of_torch,
}


def _lam(module: nn.Module, lr: torch.Tensor, cone: str) -> np.ndarray:
    return sr_hooks.lam(module, lr, window=_WINDOW, steps=_STEPS, cone=cone).attribution


def _changed(dice: random.Random, chosen: list[str], lr: torch.Tensor, stack: ExitStack) -> changed.Changeable:
    """A network on which LAM was called once, and which was changed since."""
    module = changed.Changeable()
    if dice.random() < 0.5:  # half of the networks begin with changes of their own
        CHANGES[dice.choice(list(changed.CHANGES))](dice, module, stack)
    _lam(module, lr, "auto")
    for name in chosen:
        CHANGES[name](dice, module, stack)
    return module


def _runs(module: nn.Module, lr: torch.Tensor) -> bool:
    """Whether the changed network is one at all: not every two changes fit together."""
    try:
        return bool(module(lr).shape == lr.shape)
    except RuntimeError:
        return False


def attack(count: int, seed: int) -> Iterator[Outcome]:
    lr = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    names, number, tried = list(CHANGES), 0, 0
    while tried < count:
        dice = random.Random(f"{seed} changes {number}")
        chosen = [names[number % len(names)], *dice.sample(names, dice.randint(0, 3))]
        case, failure = f"seed {seed}, case {number}: {', '.join(chosen)}", ""
        number += 1
        try:
            with ExitStack() as stack, limited(300):
                module = _changed(dice, chosen, lr, stack)
                if not _runs(module, lr):
                    continue
                now, whole = _lam(module, lr, "auto"), _lam(module, lr, "off")
            distance = np.linalg.norm(now - whole) / max(np.linalg.norm(whole), 1e-12)
            if not distance <= 10 * AGREEMENT:
                failure = f"the maps differ by {distance:.3g}"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        tried += 1
        yield Outcome("one" if len(chosen) == 1 else "several at once", case, failure)
