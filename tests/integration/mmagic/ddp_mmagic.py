"""Two processes on the CPU, gloo: trainings of mmagic under each wrapper of mmengine, with a hook and without.

Arguments: the data's folder, and the hook's block as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from tests.integration.mmagic import mm_runs
from tests.support.processes import leave


def train(data: Path, wrapper: str, name: str, hooks: list[Any]) -> dict[str, Any]:
    """What a rank knows at the end of a training of 6 iterations."""
    wrapped = {"launcher": "pytorch", "model_wrapper_cfg": {"type": wrapper, "device_ids": None}}
    content = mm_runs.config(data, Path(wrapper) / name, custom_hooks=hooks, **wrapped)
    content["train_cfg"].update(max_iters=6, val_interval=3)
    content["default_hooks"]["checkpoint"]["interval"] = 3
    if wrapper == "MMSeparateDistributedDataParallel":
        content = mm_runs.adversarial(content, "SRGAN")
    runner = mm_runs.train(content)
    kinds = [type(runner.model).__name__, type(runner.model.module.generator).__name__]
    return {"kinds": kinds, "fingerprint": mm_runs.fingerprint(runner)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    mm_runs.load_mmagic()
    hook = mm_runs.hook(**json.loads(sys.argv[2]))
    record = {
        wrapper: {name: train(Path(sys.argv[1]), wrapper, name, asked) for name, asked in asking}
        for wrapper in ("MMDistributedDataParallel", "MMSeparateDistributedDataParallel")
        for asking in [(("plain", []), ("watched", [hook]))]
    }
    Path(f"rank{os.environ['RANK']}.json").write_text(json.dumps(record))
    leave()
