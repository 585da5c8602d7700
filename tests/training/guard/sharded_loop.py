"""One process of a run whose weights are spread over processes: python sharded_loop.py KIND RANK FOLDER [watch]."""

from __future__ import annotations

import sys

import torch
from torch import distributed, nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.errors import NetworkError
from tests.support.processes import leave

kind, rank, folder, *watch = sys.argv[1:]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=int(rank), world_size=2)
torch.manual_seed(0)
module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
whole: nn.Module = module
if kind.startswith("fsdp1"):
    from torch.distributed.fsdp import FullyShardedDataParallel

    whole = FullyShardedDataParallel(
        module, use_orig_params=kind.endswith("original"), device_id=torch.device("cpu"), sync_module_states=False
    )
elif kind == "fsdp2":
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    fully_shard(module[0], mesh=mesh)
    whole = fully_shard(module, mesh=mesh)
elif kind == "ddp":
    whole = nn.parallel.DistributedDataParallel(module)
optimizer = torch.optim.SGD(whole.parameters(), 0.1)
if watch:
    lam = {"windows": [[4, 4, 4]], "every": 1, "steps": 3, "image": torch.rand(1, 3, 16, 16)}
    try:
        sr_hooks.watch(whole, optimizer, lam=lam, sinks=["log"], budget="off", folder=f"{folder}/out")
    except NetworkError as error:
        print(f"REFUSED {error}", flush=True)
for step in range(2):
    optimizer.zero_grad()
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(step))
    F.l1_loss(whole(x), x).backward()
    optimizer.step()
total = sum(
    float(p.to_local().double().sum() if hasattr(p, "to_local") else p.double().sum()) for p in whole.parameters()
)
print(f"TRAINED {total!r}", flush=True)
leave()
