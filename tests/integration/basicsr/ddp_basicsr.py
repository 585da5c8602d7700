"""An 'unedited script' for two processes on the CPU, which BasicSR itself does not support: gloo, and no device ids."""

from __future__ import annotations

import json
import os
from pathlib import Path

import basicsr.train
import basicsr.utils.options
import torch
from basicsr.models.base_model import BaseModel
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from tests.integration.basicsr.runs import fingerprint
from tests.support.processes import leave


def init_dist(launcher: str, **kwargs: object) -> None:
    distributed.init_process_group("gloo")


basicsr.utils.options.init_dist = init_dist
BaseModel.model_to_device = lambda self, net: DistributedDataParallel(net.to(self.device))
models = []
build = basicsr.train.build_model
basicsr.train.build_model = lambda opt: models.append(build(opt)) or models[-1]

if __name__ == "__main__":
    torch.set_num_threads(1)
    basicsr.train.train_pipeline(str(Path.cwd()))
    Path(f"rank{os.environ['RANK']}.json").write_text(json.dumps(fingerprint(models[0])))
    leave()
