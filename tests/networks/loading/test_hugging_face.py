"""A folder of transformers' `save_pretrained` is a network; nothing is fetched."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from pathlib import Path

import pytest
import torch

import sr_hooks
from sr_hooks.errors import CheckpointError, NetworkError

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="transformers is not installed here: pip install transformers",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed here")
    torch.manual_seed(3)
    config = transformers.Swin2SRConfig(
        image_size=16, embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=4, upscale=2
    )
    module = transformers.Swin2SRForImageSuperResolution(config).eval()
    folder = tmp_path_factory.mktemp("hub") / "swin2sr-tiny"
    module.save_pretrained(folder)
    return module, folder


@needs_transformers
def test_its_output_is_that_of_the_saved_network(
    saved: tuple[torch.nn.Module, Path], lr: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, folder = saved

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    state = torch.get_rng_state()
    network = sr_hooks.Network.load(str(folder))
    assert torch.equal(torch.get_rng_state(), state), "loading draws nothing from the program's stream"
    with torch.no_grad():
        assert torch.equal(network(lr), module(pixel_values=lr).reconstruction)
        assert network(lr[..., :19, :22]).shape[-2:] == (38, 44), "padded to its window, which it does not do itself"
    assert (network.scale, network.name) == (2, "Swin2SRForImageSuperResolution swin2sr-tiny")
    assert network.sha256() == sr_hooks.Network(module, scale=2).sha256()
    assert network.weights is not None and network.weights.path.name == "model.safetensors"


@pytest.mark.slow
@needs_transformers
def test_it_is_analysed_and_found_again(saved: tuple[torch.nn.Module, Path], small_lr: torch.Tensor) -> None:
    network = sr_hooks.Network.load(str(saved[1]))
    result = sr_hooks.lam(network, small_lr, window=(16, 16, 8), steps=5)
    assert result.arrays["attribution"].shape == small_lr.shape[1:] and abs(result.arrays["attribution"]).max() > 0
    assert network.source["model"] == str(saved[1].resolve())


@needs_transformers
def test_what_does_not_fit_is_refused(saved: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    description = json.loads((saved[1] / "config.json").read_text())

    def folder(name: str, **changes: object) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**description, **changes}))
        return str(tmp_path / name)

    with pytest.raises(CheckpointError, match=r"holds no weights: neither model\.safetensors nor"):
        sr_hooks.Network.load(folder("empty"))
    with pytest.raises(NetworkError, match=r"'BertModel' is no network of transformers for restoration; .*Swin2SR"):
        sr_hooks.Network.load(folder("bert", architectures=["BertModel"]))
    other = folder("other", embed_dim=16)
    (Path(other) / "model.safetensors").write_bytes((saved[1] / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"other"):
        sr_hooks.Network.load(other)
    with pytest.raises(NetworkError, match="holds its own arguments and weights"):
        sr_hooks.Network.load(str(saved[1]), {"upscale": 2})


def test_a_pipeline_a_broken_description_and_no_transformers_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/model_index.json").write_text("{}")
    with pytest.raises(NetworkError, match="holds a pipeline of diffusers, not one network"):
        sr_hooks.Network.load(str(tmp_path / "pipeline"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{")
    with pytest.raises(NetworkError, match=r"config\.json is not sound JSON"):
        sr_hooks.Network.load(str(tmp_path / "broken"))
    (tmp_path / "broken/config.json").write_text('{"architectures": ["Swin2SRForImageSuperResolution"]}')
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        NetworkError, match="was saved by transformers, which is not installed: pip install transformers"
    ):
        sr_hooks.Network.load(str(tmp_path / "broken"))
