"""A watched run under torchrun on two nodes: two groups of gloo on this machine, with one folder or one a node."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed

from sr_hooks.results.run_index import read_index
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (distributed.is_available() and distributed.is_gloo_available()), reason="this torch has no gloo"
    ),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("shared", [True, False], ids=["one folder", "a folder a node"])
def test_two_nodes_write_one_result_and_go_on_after_a_resume(tmp_path: Path, shared: bool) -> None:
    """The loop adds numbers of all ranks, and is resumed after six steps, of which the sums are in rank 0's folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    endpoint = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    flags = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", endpoint, "--local-addr=127.0.0.1"]
    script = str(REPOSITORY / "tests/integration/basicsr/ddp_loop.py")
    folders = [tmp_path / ("node" if shared else f"node{node}") for node in (0, 1)]
    nodes = []
    for folder in folders:
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "torch.distributed.run", *flags, "--rdzv-id=two", script]
        nodes.append(
            subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        texts = [node.communicate(timeout=280)[0] for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], texts
    by_rank = {int(file.stem[-1]): file for folder in set(folders) for file in folder.glob("rank*.json")}
    ranks = [json.loads(by_rank[rank].read_text()) for rank in (0, 1)]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    entries = read_index(by_rank[0].parent / "out")
    assert [(e["iteration"], e["analysis"]) for e in entries] == [(4, "ranks"), (8, "ranks"), (12, "ranks")]
    assert [e["headline"]["numbers"] for e in entries] == [3.0 * 4, 3.0 * 8, 3.0 * 12]
    assert "no running sums" not in "".join(texts)
    if not shared:
        assert not (by_rank[1].parent / "out").exists(), "only the node of rank 0 writes"
