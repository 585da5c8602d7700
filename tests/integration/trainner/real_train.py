"""Runs train.py of the real traiNNer-redux, whole, on a CPU: it is told that there is CUDA, and does not use any."""

import importlib.util
import logging
import runpy
import sys
from pathlib import Path

import torch

ROOT = Path(importlib.util.find_spec("traiNNer").origin).parents[1]


class _Cuda:
    """torch.cuda as the function that trains uses it."""

    def is_available(self):
        return True

    def __getattr__(self, name):
        return lambda *_, **__: None


class _Torch:
    cuda = _Cuda()

    def __getattr__(self, name):
        return getattr(torch, name)


def train_pipeline(root_path):
    sys.path.insert(0, str(ROOT))
    try:
        names = runpy.run_path(str(ROOT / "train.py"))
    finally:
        sys.path.remove(str(ROOT))
    models = sys.modules["traiNNer.models"]
    models.BUILT = []

    def build_model(opt):
        models.BUILT.append(models.build_model(opt))
        return models.BUILT[-1]

    sys.modules["traiNNer.utils.config"].Config._config = None  # it keeps the options of the run before
    logging.getLogger("traiNNer").handlers.clear()
    pipeline = names["train_pipeline"]
    others = {"torch": _Torch(), "build_model": build_model, "get_env_info": lambda: "", "install": lambda: None}
    pipeline.__globals__.update(others)
    pipeline(root_path)


if __name__ == "__main__":
    train_pipeline(str(Path.cwd()))
