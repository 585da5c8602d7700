"""The callback for Lightning.

    trainer = Trainer(callbacks=[SRHooks(network="net_g", image="baby.png", lam={"windows": [[96, 120, 16]]})])

This module alone imports Lightning at its top: whoever imports it has Lightning.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from sr_hooks.adapters.loop import torch_optimizer, trains
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.networks.loading.mmagic import part_of
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.config import BLOCK, WatchPlan, merge, network_part, parse_block, read_block
from sr_hooks.training.distributed import stopping
from sr_hooks.training.session import Session
from sr_hooks.training.watch_images import image_source

if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:  # the package's older name
    from pytorch_lightning.callbacks import Callback
else:
    from lightning.pytorch.callbacks import Callback

__all__ = ["SRHooks"]

_USUAL = ("net_g", "generator")


class SRHooks(Callback):  # type: ignore[misc]  # Lightning is not followed by the type checker
    """Watch a training run of Lightning; the same keys as the `sr_hooks:` block of a BasicSR option file.

    An iteration is a batch after which an optimizer has stepped. Where each batch makes one step, this is Lightning's
    `global_step`; accumulated batches are one iteration, and so is a batch of two optimizers. On resume the count goes
    on from Lightning's checkpoint, and results go into the folder of the run before.

    Args:
        network: the part of the LightningModule that is the network, "net_g" or "model.net"; `net_g` or `generator`
            where not given. ("ema" and "raw" are which of its weights to look at, as in the block.)
        ema: the part that is its moving average; `<network>_ema` where there is one, else the average of Lightning's
            WeightAveraging callback.
        config: a YAML or TOML file, or a mapping, of analyses to their options; the keywords lie on top.
        folder: for results; by default `sr_hooks` in the logger's folder.
        facts: what `sr_hooks.Network` takes of the network: scale, input_range, mean, std, bgr, multiple, channels.
        block: an analysis's name with its options, and keys for all of them: `image`, `budget`, `sinks`, `seed`.

    Raises:
        RunStopped: when training begins, where what is asked for cannot be done.
    """

    def __init__(
        self, *, config: Any = None, ema: str | None = None, folder: str | Path | None = None, **block: Any
    ) -> None:
        self.config, self.ema, self.folder, self.block = config, ema, folder, block
        self.session: Session | None = None
        self._optimizer: Any = None
        self._before_step: OrderedDict[int, Callable[..., None]] = OrderedDict()
        self.folder_of_run = Path()
        self._saved: dict[str, Any] = {}
        self._steps = 0  # Lightning's global_step at the last iteration
        self._is_pending = False  # an iteration waits for its moving average

    # -- the host's events -------------------------------------------------------------------------

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the session: all is built and, on resume, loaded; nothing is trained yet."""
        self.close()
        own = Path(trainer.log_dir or trainer.default_root_dir) / BLOCK
        self.folder_of_run = Path(self.folder or (self._saved.get("folder") if trainer.global_step else None) or own)
        log = logging.getLogger(Callback.__module__.partition(".callbacks")[0]).getChild("sr_hooks")
        with stopping():
            plan, path, facts = self._plan(pl_module)
            if not plan.analyses:
                log.info("sr_hooks: %s asks for no analysis, so nothing is watched", plan.where)
                return
            modules = self._modules(trainer, pl_module, path)
            self._optimizer = _optimizer_of(trainer, modules["raw"])
            session = Session(
                plan,
                {which: Network(module, **facts) if facts else module for which, module in modules.items()},
                image_source(plan.base, None),
                folder=self.folder_of_run,
                tensorboard=lambda: _writer(trainer),
                log=log,
                run=type(pl_module).__name__,
                seed=int(plan.seed if plan.seed is not None else os.environ.get("PL_GLOBAL_SEED") or 0),
                total=trainer.max_steps if trainer.max_steps > 0 else None,
            )
            session.start(self._done(trainer))
            if session.wants_steps:
                session.attach(self)  # for its two methods below
        self.session, self._steps, self._is_pending = session, trainer.global_step, False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._tell()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The gradients are there; at the optimizer's own hook they are not, as Lightning computes them in its step."""
        if torch_optimizer(optimizer) is self._optimizer:
            for hook in list(self._before_step.values()):
                hook(self._optimizer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the iteration. A moving average may be updated after this event, so it is analysed at the next."""
        if self.session is None or trainer.global_step == self._steps:
            return
        self._steps, self._is_pending = trainer.global_step, True
        if not any(watched.which == "ema" for watched in self.session.watched):
            self._tell()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._tell()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's WeightAveraging has put back by now the weights that it exchanged for the validation."""
        if self.session is not None:
            self.session.validated()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self._tell()
        if self.session is not None:
            self.session.saving()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._tell()
        if self.session is not None:
            self.session.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.close()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """What Lightning's checkpoint keeps of us: the iteration, and where the results are."""
        if self.session is None:
            return dict(self._saved)
        iteration = self.session.iteration + int(self._is_pending)
        return {"iteration": iteration, "folder": str(self.folder_of_run.absolute())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = dict(state_dict)

    def close(self) -> None:
        """Take all that is ours off the run."""
        if self.session is not None:
            self._saved = self.state_dict()  # for a checkpoint that is saved after training
            self.session.close()
        self.session = self._optimizer = None
        self._before_step.clear()

    def _tell(self) -> None:
        if self.session is not None and self._is_pending:
            self._is_pending = False
            self.session.step(self.session.iteration + 1)

    # -- hooks on steps, as Session.attach asks for them ---------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        handle = RemovableHandle(self._before_step)
        self._before_step[handle.id] = hook
        return handle

    def register_step_post_hook(self, hook: Callable[..., None]) -> Any:
        return self._optimizer.register_step_post_hook(hook)

    # -- what is asked for -------------------------------------------------------------------------

    def _plan(self, pl_module: Any) -> tuple[WatchPlan, str, dict[str, Any]]:
        """The plan, the network's path in the module, and the facts that are stated of the network."""
        is_file = isinstance(self.config, (str, Path))
        lower = read_block(self.config) if is_file else self.config
        where = str(self.config) if is_file else "SRHooks"
        if lower is not None and not hasattr(lower, "items"):
            parse_block(lower, where=where)  # says what it should be
        usual = next((name for name in _USUAL if isinstance(getattr(pl_module, name, None), nn.Module)), None)
        block, path, facts = network_part(merge(lower, self.block), where=where, default=usual)
        if path is None:
            names = ", ".join(name for name, _ in pl_module.named_children()) or "none"
            raise OptionError(
                f"{where}: say which part of {type(pl_module).__name__} is the network: network=... ({names})"
            )
        return parse_block(block, where=where, base=Path(self.config).parent if is_file else None), path, facts

    def _modules(self, trainer: Any, pl_module: Any, path: str) -> dict[str, nn.Module]:
        modules = {"raw": part_of(pl_module, path)}
        average = self._average(trainer, pl_module, path)
        return modules if average is None else {**modules, "ema": average}

    def _average(self, trainer: Any, pl_module: Any, path: str) -> nn.Module | None:
        if self.ema is not None:
            return part_of(pl_module, self.ema)
        head, _, rest = path.partition(".")
        own = unwrap(getattr(pl_module, f"{head}_ema", None))
        if isinstance(own, nn.Module):
            return part_of(own, rest, called=f"{head}_ema.{rest}") if rest else own
        for callback in trainer.callbacks:
            if isinstance(getattr(callback, "_average_model", None), nn.Module):
                return part_of(unwrap(callback._average_model), path)
        return None

    def _done(self, trainer: Any) -> int:
        """Iterations done before; of a checkpoint that was saved without us, by Lightning's count of steps."""
        steps = int(trainer.global_step)
        return int(self._saved.get("iteration", steps // max(len(trainer.optimizers), 1))) if steps else 0


def _optimizer_of(trainer: Any, module: nn.Module) -> torch.optim.Optimizer:
    for each in trainer.optimizers:
        optimizer = torch_optimizer(each)
        if isinstance(optimizer, torch.optim.Optimizer) and trains(optimizer, module):
            return optimizer
    raise NetworkError(f"no optimizer of this run holds weights of {type(module).__name__}")


def _writer(trainer: Any) -> Any:
    """The SummaryWriter of the run's first TensorBoard logger."""
    for logger in trainer.loggers:
        if any(cls.__name__ == "TensorBoardLogger" for cls in type(logger).__mro__):
            return logger.experiment
    return None
