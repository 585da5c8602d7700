"""Trainings of the real Lightning are watched by a callback; not one bit changes."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import sr_hooks
from sr_hooks.core.registry import registered
from sr_hooks.errors import RunStopped
from sr_hooks.results.run_index import read_index
from tests.conftest import hooks_on
from tests.integration import hosts
from tests.integration.basicsr import runs
from tests.support.training import IMAGE, Net, Plugin

L = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed here: pip install lightning")
from lightning.pytorch.callbacks import EMAWeightAveraging  # noqa: E402

from sr_hooks.adapters.lightning import SRHooks  # noqa: E402

BLOCK = {"lam": {**hosts.LAM, "steps": 5}, "image": IMAGE, "sinks": ["folder"], "folder": "out"}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "EMA": {"ema": True},
    "AMP": {"precision": "bf16-mixed"},
    "accumulation": {"accumulate_grad_batches": 2},
    "two optimizers": {"critic": True},
    "all": {"ema": True, "precision": "bf16-mixed", "accumulate_grad_batches": 2},
}


class Crops(Dataset):
    """Random pairs, drawn from the streams that a training must not lose."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        lr = torch.rand(3, 12, 12) * random.random() + np.random.rand() * 0.1
        return lr, F.interpolate(lr[None], scale_factor=2.0)[0]


class Restorer(L.LightningModule):
    """A usual module, with the network as a part."""

    def __init__(self) -> None:
        super().__init__()
        self.net_g = Net()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        lr, hr = batch
        return F.l1_loss(self.net_g(lr), hr)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        lr, hr = batch
        self.log("val", F.l1_loss(self.net_g(lr), hr))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.net_g.parameters(), 1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]


class Adversarial(Restorer):
    """Two optimizers, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net_d = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 1, 3))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        lr, hr = batch
        optimizer_g, optimizer_d = self.optimizers()
        output = self.net_g(lr)
        optimizer_g.zero_grad()
        self.manual_backward(F.l1_loss(output, hr) - 0.01 * self.net_d(output).mean())
        optimizer_g.step()
        optimizer_d.zero_grad()
        self.manual_backward(F.softplus(self.net_d(output.detach())).mean() + F.softplus(-self.net_d(hr)).mean())
        optimizer_d.step()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net_g.parameters(), 1e-2), torch.optim.SGD(self.net_d.parameters(), 1e-3)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    yield
    logging.getLogger("lightning.pytorch").setLevel(logging.INFO)


def train(
    hooks: Any = None, *, ema: bool = False, critic: bool = False, epochs: int = 2, checkpoint: str | None = None,
    module: Any = None, **options: Any,
) -> tuple[Any, dict[str, str]]:  # fmt: skip
    """Two epochs of 5 batches with a validation after each; the trainer, and SHA-256 of all at the end."""
    hosts.seeded()
    module = module or (Adversarial if critic else Restorer)()
    callbacks = [hooks] if hooks is not None else []
    callbacks += [EMAWeightAveraging(decay=0.9)] if ema else []
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=1, **options,
    )  # fmt: skip
    trainer.fit(module, DataLoader(Crops(), 2, shuffle=True), DataLoader(Crops(), 2), ckpt_path=checkpoint)
    assert hooks_on(module) == 0
    for optimizer in trainer.optimizers:
        assert not optimizer._optimizer_step_post_hooks and not optimizer._optimizer_step_pre_hooks
    found = {
        "weights": module.state_dict(),
        "grads": {name: p.grad for name, p in module.named_parameters()},
        "modes": [part.training for part in module.modules()],
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "averages": [c._average_model.state_dict() for c in callbacks if hasattr(c, "_average_model")],
        "streams": [torch.get_rng_state(), np.random.get_state(), random.getstate()],
    }
    return trainer, {key: hashlib.sha256(runs._bytes(value)).hexdigest() for key, value in found.items()}


def looks() -> list[tuple[int, str]]:
    return [(entry["iteration"], entry["network"]) for entry in read_index("out")]


@pytest.mark.parametrize("kind", KINDS)
def test_bit_for_bit(kind: str) -> None:
    _, without = train(**KINDS[kind])
    trainer, watched = train(SRHooks(**BLOCK), **KINDS[kind])
    assert watched == without
    which = "ema" if KINDS[kind].get("ema") else "raw"
    iterations = trainer.global_step // (2 if kind == "two optimizers" else 1)
    assert iterations == (6 if "accumulate_grad_batches" in KINDS[kind] else 10)
    assert looks() == [(iteration, which) for iteration in range(3, iterations + 1, 3)]


def test_the_map_is_that_of_the_network_and_the_average_is_up_to_date() -> None:
    block = {**BLOCK, "lam": {"windows": [[8, 8, 8]], "steps": 5, "at": [4, 10]}}
    seen: dict[int, torch.Tensor] = {}

    class Copies(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, *_: Any) -> None:
            average = next(c._average_model for c in trainer.callbacks if hasattr(c, "_average_model"))
            seen[trainer.global_step] = {k: v.clone() for k, v in average.module.net_g.state_dict().items()}

    train(SRHooks(**block), ema=True, precision="bf16-mixed", module=_with(Copies()))
    net = Net()
    net.load_state_dict(seen[4])
    direct = sr_hooks.lam(net, IMAGE, window=(8, 8, 8), steps=5)
    watched = sr_hooks.load("out/4/lam")
    assert watched.provenance["network"]["sha256"] == sr_hooks.Network(net).sha256()
    assert (watched.arrays["attribution"] == direct.arrays["attribution"]).all()


def _with(callback: Any) -> Any:
    module = Restorer()
    module.configure_callbacks = lambda: [callback]
    return module


@pytest.mark.parametrize("kind", ["plain", "EMA", "two optimizers"])
def test_a_run_resumed_from_lightnings_own_checkpoint(kind: str) -> None:
    first = SRHooks(**{**BLOCK, "folder": None})
    trainer, _ = train(first, epochs=1, default_root_dir="first", **KINDS[kind])
    trainer.save_checkpoint("half.ckpt")
    _, without = train(checkpoint="half.ckpt", **KINDS[kind])
    hooks = SRHooks(**{**BLOCK, "folder": None})
    _, watched = train(hooks, checkpoint="half.ckpt", default_root_dir="second", **KINDS[kind])
    assert watched == without
    entries = read_index("first/sr_hooks")
    assert [entry["iteration"] for entry in entries] == [3, 6, 9], "goes on where the first run wrote"
    assert not Path("second/sr_hooks").exists()


def test_a_checkpoint_that_was_saved_without_us_goes_on_at_lightnings_own_count() -> None:
    trainer, _ = train(epochs=1)
    trainer.save_checkpoint("half.ckpt")
    train(SRHooks(**BLOCK), checkpoint="half.ckpt")
    assert looks() == [(6, "raw"), (9, "raw")]


def test_after_validations_and_at_the_end() -> None:
    block = {**BLOCK, "lam": {"windows": [[8, 8, 8]], "steps": 5, "on_validation": True, "budget": "off"}}
    train(SRHooks(**block))
    assert looks() == [(5, "raw"), (10, "raw")]
    block = {**BLOCK, "lam": {"windows": [[8, 8, 8]], "steps": 5, "at_end": True}}
    train(SRHooks(**{**block, "folder": "out2"}))
    assert [entry["iteration"] for entry in read_index("out2")] == [10]


@pytest.mark.parametrize("kind", ["plain", "two optimizers", "accumulation"])
def test_an_analysis_finds_the_gradients_before_each_step(kind: str) -> None:
    """Lightning computes gradients inside of the optimizer's step, when the optimizer's own hook has already run."""
    with registered(Plugin(), name="third_party"):
        train(SRHooks(**{**BLOCK, "lam": False, "sums": {"at_end": True, "on_error": "raise"}}), **KINDS[kind])
    numbers = sr_hooks.load(Path("out") / read_index("out")[0]["folder"]).scalars
    assert numbers["steps"] == (6 if kind == "accumulation" else 10) and numbers["total"] > 0


def test_by_a_config_and_by_the_decorator() -> None:
    Path("watch.yml").write_text(yaml.safe_dump({"sr_hooks": {"lam": hosts.LAM, "sinks": ["folder"]}}, sort_keys=False))
    train(SRHooks(config="watch.yml", image=IMAGE, folder="out"))
    assert looks() == [(3, "raw"), (6, "raw"), (9, "raw")]

    def main() -> Any:
        model = Restorer()
        trainer = L.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                            enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        trainer.fit(model, DataLoader(Crops(), 2))

    sr_hooks.analyze(main, network="model.net_g", **{**BLOCK, "folder": "out3"})()
    assert [entry["iteration"] for entry in read_index("out3")] == [3]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"lam": {"windowz": 1}}, r"SRHooks: lam: unknown key 'windowz'; did you mean window or windows"),
    "an unknown part": ({"network": "net_gg"}, r"Restorer has no part 'net_gg'.*net_g"),
    "an unknown fact": ({"facts": {"scal": 2}}, r"SRHooks: facts: unknown key 'scal'; did you mean scale"),
    "an average that is not there": ({"ema": "average"}, r"Restorer has no part 'average'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_stops_the_run_before_its_first_step(mistake: str) -> None:
    changes, message = MISTAKES[mistake]
    module = Restorer()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(RunStopped, match=message):
        train(SRHooks(**{**BLOCK, **changes}), module=module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_module_without_a_usual_name_is_asked_for_its_part() -> None:
    class Odd(Restorer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = self.net_g
            del self.net_g

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    with pytest.raises(RunStopped, match=r"say which part of Odd is the network: network=\.\.\. \(inner\)"):
        train(SRHooks(**BLOCK), module=Odd())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_a_training_that_breaks_off(error: type[BaseException]) -> None:
    class Breaking(Restorer):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            if batch_idx == 4:
                raise error("broken")
            return super().training_step(batch, batch_idx)

    module, hooks = Breaking(), SRHooks(**BLOCK)
    with pytest.raises((ValueError, SystemExit, KeyboardInterrupt)):
        train(hooks, module=module)
    assert hooks.session is None and hooks_on(module) == 0 and looks() == [(3, "raw")]
