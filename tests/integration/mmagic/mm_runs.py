"""Real trainings of mmagic, small: configs on real photographs, run in this process by mmengine's own Runner."""

from __future__ import annotations

import atexit
import functools
import gc
import importlib.util
import itertools
import logging
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from sr_hooks.images.image import blur, read_image, write_image
from tests.integration.basicsr import runs

needs_mmagic = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mmcv", "mmengine", "mmagic"))),
    reason="mmagic is not installed here: .ci/run has an environment with it, of the requirements beside this file",
)

_count = itertools.count()

GENERATORS: dict[str, dict[str, Any]] = {
    "EDSR": {"type": "EDSRNet", "mid_channels": 8, "num_blocks": 2, "upscale_factor": 2},
    "SRResNet": {"type": "MSRResNet", "mid_channels": 8, "num_blocks": 2, "upscale_factor": 2},
    "RRDB": {"type": "RRDBNet", "mid_channels": 8, "num_blocks": 1, "growth_channels": 4, "upscale_factor": 2},
    "RDN": {"type": "RDNNet", "mid_channels": 8, "num_blocks": 2, "upscale_factor": 2, "num_layers": 2,
            "channel_growth": 4},
    "SwinIR": {"type": "SwinIRNet", "upscale": 2, "in_chans": 3, "img_size": 16, "window_size": 8, "img_range": 1.0,
               "depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2, "drop_rate": 0.1,
               "upsampler": "pixelshuffledirect", "resi_connection": "1conv"},
    "NAFNet": {"type": "NAFNet", "img_channels": 3, "mid_channels": 8, "enc_blk_nums": [1, 1], "middle_blk_num": 1,
               "dec_blk_nums": [1, 1]},
    "Restormer": {"type": "Restormer", "inp_channels": 3, "out_channels": 3, "dim": 8, "num_blocks": [1, 1, 1, 1],
                  "num_refinement_blocks": 1, "heads": [1, 1, 2, 2], "ffn_expansion_factor": 2.0},
}  # fmt: skip
"""Small ones of the real architectures; the last two restore, at scale 1."""

for _name in ("EDSR", "SRResNet", "RRDB", "RDN"):
    GENERATORS[_name].update(in_channels=3, out_channels=3)

WATCHED: dict[str, dict[str, Any]] = {
    "lam": {"windows": [[8, 8, 8]], "steps": 5},
    "ddr": {"images": 2, "patch": 16, "patches": 8, "degradations": ["clean", "noise:20"], "components": 4,
            "permutations": 9, "subsamples": 4, "tsne": 0},
    "faig": {"images": 2, "crop": 24, "degradations": ["blur:1", "noise:20"], "refine": 1, "free": True},
}  # fmt: skip
"""All three, as small as they go."""


@functools.cache
def load_mmagic() -> None:
    """Import the real mmagic; without the compiled mmcv.ops, of which none of these networks needs any, stand-ins."""
    if importlib.util.find_spec("mmcv._ext") is None:
        import mmcv

        for name in ("ops", "ops.fused_bias_leakyrelu", "ops.upfirdn2d"):
            sys.modules[f"mmcv.{name}"] = _Absent(f"mmcv.{name}")
        mmcv.ops = sys.modules["mmcv.ops"]
    from mmagic.utils import register_all_modules

    register_all_modules(True)
    gc.freeze()  # mmengine collects garbage for each dataset, among a hundred thousand objects of the imports
    atexit.register(gc.unfreeze)


class _Absent(types.ModuleType):
    """Holds whatever is asked of it; what is built or called of that says that it is not there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def absent(*_: Any, **__: Any) -> None:
            raise RuntimeError(f"{self.__name__}.{name} needs the compiled mmcv, and this is mmcv-lite")

        return type(name, (nn.Module,), {"__init__": absent}) if name[0].isupper() else absent


def make_data(root: Path) -> Path:
    """x2/ and x1/ with train/ and val/ of crops: inputs shrunk by 2, and blurred ones of full size."""
    runs.make_data(root / "x2")
    runs.make_data(root / "x1")
    for path in sorted((root / "x1").rglob("gt/*.png")):
        write_image(blur(read_image(path), [1.0]), path.parents[1] / "lq" / path.name)
    return root


def config(
    data: Path, work: Path, generator: str = "SRResNet", *, order: str = "rgb", **changes: Any
) -> dict[str, Any]:
    """BaseEditModel, batch 2, 20 iterations, validation every 10, no workers, so that augmentation uses our streams."""
    scale = 1 if generator in ("NAFNet", "Restormer") else 2
    load = [
        {"type": "LoadImageFromFile", "key": key, "color_type": "color", "channel_order": order}
        for key in ("img", "gt")
    ]
    augment = [
        {"type": "SetValues", "dictionary": {"scale": scale}},
        {"type": "PairedRandomCrop", "gt_patch_size": 32},
        {"type": "Flip", "keys": ["img", "gt"], "flip_ratio": 0.5, "direction": "horizontal"},
        {"type": "RandomTransposeHW", "keys": ["img", "gt"], "transpose_ratio": 0.5},
    ]

    def loader(part: str, pipeline: list[Any], sampler: str, batch: int) -> dict[str, Any]:
        dataset = {
            "type": "BasicImageDataset",
            "metainfo": {"dataset_type": "crops", "task_name": "sisr"},
            "data_root": str(data / f"x{scale}" / part),
            "data_prefix": {"img": "lq", "gt": "gt"},
            "pipeline": [*pipeline, {"type": "PackInputs"}],
        }
        sampler_ = {"type": sampler, "shuffle": part == "train"}
        return {"num_workers": 0, "batch_size": batch, "persistent_workers": False, "sampler": sampler_,
                "dataset": dataset}  # fmt: skip

    content: dict[str, Any] = {
        "default_scope": "mmagic",
        "work_dir": str(work),
        "experiment_name": f"tiny_{next(_count)}",
        "model": {
            "type": "BaseEditModel",
            "generator": dict(GENERATORS[generator]),
            "pixel_loss": {"type": "L1Loss", "loss_weight": 1.0},
            "data_preprocessor": {"type": "DataPreprocessor", "mean": [0.0] * 3, "std": [255.0] * 3},
        },
        "train_dataloader": loader("train", [*load, *augment], "InfiniteSampler", 2),
        "val_dataloader": loader("val", load, "DefaultSampler", 1),
        "val_evaluator": {"type": "Evaluator", "metrics": [{"type": "PSNR", "crop_border": 2}]},
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 20, "val_interval": 10},
        "val_cfg": {"type": "MultiValLoop"},
        "optim_wrapper": {
            "constructor": "DefaultOptimWrapperConstructor",
            "type": "OptimWrapper",
            "optimizer": {"type": "Adam", "lr": 2e-4},
        },
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "interval": 10, "by_epoch": False},
            "logger": {"type": "LoggerHook", "interval": 10},
        },
        "custom_hooks": [],
        "randomness": {"seed": 7},
        "log_level": "WARNING",
    }
    return runs.deep(content, changes)


def hook(**block: Any) -> dict[str, Any]:
    """What a user writes into custom_hooks."""
    return {"type": "sr_hooks.adapters.mmagic.SRHooks", **block}


def adversarial(content: dict[str, Any], model: str) -> dict[str, Any]:
    """The same with a discriminator and its optimizer; no pretrained perceptual network is needed."""
    adam = {"type": "OptimWrapper", "optimizer": {"type": "Adam", "lr": 1e-4}}
    gan = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.05, "real_label_val": 1.0, "fake_label_val": 0}
    disc = {"type": "UNetDiscriminatorWithSpectralNorm", "in_channels": 3, "mid_channels": 4}
    content = runs.deep(content, {"model": {"type": model, "discriminator": disc, "gan_loss": gan}})
    content["optim_wrapper"] = {
        "constructor": "MultiOptimWrapperConstructor",
        "discriminator": dict(adam),
        "generator": dict(adam),
    }
    return content


def build(content: dict[str, Any], file: Path | None = None) -> Any:
    """A Runner of the content, read from a config file where one is named."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Config(content).dump(str(file))
    runner = Runner.from_cfg(Config(content) if file is None else Config.fromfile(str(file)))
    runner.logger.setLevel(logging.WARNING)
    return runner


def train(content: dict[str, Any], file: Path | None = None) -> Any:
    """The Runner, after its training."""
    runner = build(content, file)
    runner.train()
    return runner


def fingerprint(runner: Any) -> dict[str, str]:
    """SHA-256 of all weights, averages, optimizers' states, gradients, modes and the random streams."""
    model = getattr(runner.model, "module", runner.model)
    wrapper = runner.optim_wrapper
    wrappers = getattr(wrapper, "optim_wrappers", {"": wrapper})
    average = next((h.ema_model for h in runner.hooks if hasattr(h, "ema_model")), None)
    parts = {"net_g": model, "net_g_ema": average}
    optimizers = [each.optimizer for each in wrappers.values()]
    return runs.fingerprint(SimpleNamespace(**parts, optimizers=optimizers, schedulers=[]))
