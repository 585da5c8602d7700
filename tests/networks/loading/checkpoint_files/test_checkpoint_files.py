"""Checkpoint files of every making: loaded with outputs equal to the plain file's to the bit, or refused in words."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sr_hooks import Network
from sr_hooks.cli.app import main
from sr_hooks.cli.networks import add_network_flags, load_network
from sr_hooks.errors import CheckpointError, NetworkError
from sr_hooks.networks.loading.checkpoints import read_weights
from tests.support import checkpoints as files

CLASS = "sr_hooks.networks.loading.compact_resnet:CompactResNet"
YAML = "{features: 8, blocks: 2, scale: 2}"


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def output(network: Network, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.module(image)


def plain_output(row: str, image: torch.Tensor) -> torch.Tensor:
    module = files.network()
    module.load_state_dict(files.PLAIN.get(row, lambda: files.W)())
    with torch.no_grad():
        return module(image)


def by_command_line(*flags: str) -> Network:
    parser = argparse.ArgumentParser()
    add_network_flags(parser, positional=True)
    return load_network(parser.parse_args([*flags, "--device", "cpu"]))


@pytest.mark.parametrize("row", files.LAYOUTS)
def test_every_layout_loads_with_equal_bits(row: str, image: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(files.LAYOUTS[row](), path)
    expected = plain_output(row, image)
    assert torch.equal(output(Network.from_import(CLASS, files.ARGUMENTS, weights=path), image), expected)
    assert torch.equal(output(by_command_line(CLASS, "--arguments", YAML, "--weights", str(path)), image), expected)
    assert torch.equal(output(by_command_line(str(path)), image), expected), "the architecture read from the names"


@pytest.mark.parametrize("row", files.ARRAY_FILES)
@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_files_of_numpy_arrays(row: str, suffix: str, image: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    files.ARRAY_FILES[row](path)
    expected = plain_output("", image)
    assert torch.equal(output(Network.from_import(CLASS, files.ARGUMENTS, weights=path), image), expected)
    assert torch.equal(output(by_command_line(CLASS, "--arguments", YAML, "--weights", str(path)), image), expected)
    assert torch.equal(output(by_command_line(str(path)), image), expected)


def test_a_pickle_of_arrays_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "made"),))

    for content in ({"a": np.zeros((2, 2)), "b": Evil()}, np.array([Evil()], object)):
        (tmp_path / "net.pkl").write_bytes(pickle.dumps(content))
        torch.save(content, tmp_path / "net.pth")
        for name in ("net.pkl", "net.pth"):
            with pytest.raises(CheckpointError, match=r"is refused|is truncated"):
                read_weights(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_sixty_files_at_least() -> None:
    assert len(files.LAYOUTS) + len(files.REFUSED) + len(files.ARRAY_FILES) + 3 * len(files.SUFFIXES) >= 60
    assert len(files.LAYOUTS) + len(files.ARRAY_FILES) >= 60, "files that load"


@pytest.mark.parametrize("row", files.REFUSED)
def test_what_cannot_be_loaded_is_named(row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, sentence = files.REFUSED[row]
    path = tmp_path / "net.pth"
    write(path)
    with pytest.raises(CheckpointError, match=sentence) as refusal:
        Network.from_import(CLASS, files.ARGUMENTS, weights=path)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 700
    assert main(["layers", "--model", CLASS, "--arguments", YAML, "--weights", str(path)]) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and "Traceback" not in error


@pytest.mark.parametrize("suffix", files.SUFFIXES)
@pytest.mark.parametrize("kind", ["torch", "legacy", "safetensors"])
def test_a_name_does_not_matter(suffix: str, kind: str, image: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    if kind == "safetensors":
        files.safetensors_as(path)
    else:
        content = {"params": files.W, "args": argparse.Namespace(a=1), "when": Path("b")}
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    assert torch.equal(output(Network.load(str(path)), image), plain_output("", image))


def test_a_torch_file_called_safetensors(image: torch.Tensor, tmp_path: Path) -> None:
    torch.save(files.W, tmp_path / "net.safetensors")
    assert torch.equal(output(Network.load(str(tmp_path / "net.safetensors")), image), plain_output("", image))
    (tmp_path / "bad.safetensors").write_bytes(files.safetensors_head(40) + bytes(60))
    with pytest.raises(CheckpointError, match="not a sound safetensors"):
        read_weights(tmp_path / "bad.safetensors")


def test_a_pipe_is_no_weights_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", "/dev/zero"):
        with pytest.raises(CheckpointError, match="no regular file"):
            read_weights(path)


def test_adapter_config_beside_the_file(image: torch.Tensor, tmp_path: Path) -> None:
    torch.save(files._adapted(), tmp_path / "net.pth")
    files.write_adapter_config(tmp_path)
    network = Network.from_import(CLASS, files.ARGUMENTS, weights=tmp_path / "net.pth")
    assert torch.equal(output(network, image), plain_output("LoRA of peft", image))
    assert "LoRA folded into plain weights" in network.describe()["weights_remarks"]


@pytest.mark.parametrize("rslora", [False, True])
def test_a_checkpoint_of_peft_itself(rslora: bool, image: torch.Tensor, tmp_path: Path) -> None:
    """The adapted network of peft, saved whole, loads as what peft's own merge gives."""
    peft = pytest.importorskip("peft", reason="peft is not installed here")
    torch.manual_seed(4)
    settings = peft.LoraConfig(r=2, lora_alpha=6, use_rslora=rslora, target_modules=["conv_first", "body.0.conv1"])
    module = files.network()
    targets = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Conv2d)][:2]
    settings.target_modules = set(targets)
    adapted = peft.get_peft_model(module, settings)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.copy_(torch.randn_like(value) * 0.1)
    torch.save(adapted.state_dict(), tmp_path / "net.pth")
    adapted.save_pretrained(tmp_path)
    network = Network.from_import(CLASS, files.ARGUMENTS, weights=tmp_path / "net.pth")
    merged = adapted.merge_and_unload()
    with torch.no_grad():
        expected = merged(image)
    assert float((output(network, image) - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
    assert "LoRA folded into plain weights" in network.describe()["weights_remarks"]
    with pytest.raises(CheckpointError):
        Network.from_import(CLASS, files.ARGUMENTS, weights=tmp_path / "adapter_model.safetensors")


STATE_OLD = {"weights_key": "state", "weights_prefix": "old."}
CHOICES = {
    "a key": ({"weights_key": "params"}, ["--weights-key", "params"], "::params"),
    "a prefix": (STATE_OLD, ["--weights-prefix", "old.", "--weights-key", "state"], "::state::old."),
    "a dotted key": ({"weights_key": "deep.inner"}, ["--weights-key", "deep.inner"], "::deep.inner"),
    "a prefix of the top": (None, None, "::net_g"),
}


@pytest.mark.parametrize("row", CHOICES)
def test_key_and_prefix_choose(row: str, image: torch.Tensor, tmp_path: Path) -> None:
    options, flags, short = CHOICES[row]
    path = tmp_path / "net.pth"
    both = {**files.prefixed(files.W, "old."), **files.prefixed(files.OTHER, "new.")}
    content = {
        "params": files.W,
        "params_ema": files.OTHER,
        "state": both,
        "deep": {"inner": files.W, "outer": files.OTHER},
    }
    if row == "a prefix of the top":
        content = {"state_dict": {**files.prefixed(files.W, "net_g."), **files.prefixed(files.OTHER, "net_g_ema.")}}
    torch.save(content, path)
    expected = plain_output("", image)
    if options is not None:
        loaded = Network.load(CLASS, files.ARGUMENTS, weights=path, **options)
        assert torch.equal(output(loaded, image), expected)
        assert torch.equal(
            output(Network.from_import(CLASS, files.ARGUMENTS, weights=path, **options), image), expected
        )
        assert torch.equal(output(by_command_line(str(path), *flags), image), expected)
        again = Network.load(
            loaded.source["model"],
            loaded.source["arguments"],
            weights=loaded.source["weights"],
            **loaded.source["facts"],
        )
        assert torch.equal(output(again, image), expected), "what a result records loads the same weights"
    assert torch.equal(output(Network.load(f"{path}{short}"), image), expected)
    assert torch.equal(
        output(by_command_line(CLASS, "--arguments", YAML, "--weights", f"{path}{short}"), image), expected
    )
    with pytest.raises(CheckpointError, match=r"holds no weights under 'nothing'; it holds weights under: "):
        Network.load(f"{path}::nothing")


def test_a_key_without_a_file_is_refused() -> None:
    with pytest.raises(NetworkError, match="choose inside a weights file"):
        Network.load(CLASS, files.ARGUMENTS, weights_key="params")
    with pytest.raises(NetworkError, match="choose inside a weights file"):
        Network.from_import(CLASS, files.ARGUMENTS, weights_prefix="net.")


def test_what_was_chosen_and_left_out_is_recorded(tmp_path: Path) -> None:
    torch.save({"ema": files.counted(files.W), "model": files.OTHER}, tmp_path / "net.pth")
    record = Network.load(str(tmp_path / "net.pth")).describe()
    assert record["weights"] == "ema" and record["weights_beside"] == ["model"]
    remarks = "; ".join(record["weights_remarks"])
    assert "the average under ema is taken, and not model" in remarks and "total_ops, total_params" in remarks
    torch.save(files.W, tmp_path / "plain.pth")
    plain = Network.load(str(tmp_path / "plain.pth")).describe()
    assert plain["weights"] == "bare" and "weights_beside" not in plain and "weights_remarks" not in plain


@pytest.mark.parametrize("row", ["params", "module._orig_mod.", "_orig_mod. inside", "LIIF", "ema_pytorch", "net_g."])
def test_saved_weights_have_the_names_of_their_file(row: str, image: torch.Tensor, tmp_path: Path) -> None:
    torch.save(files.LAYOUTS[row](), tmp_path / "net.pth")
    network = Network.load(str(tmp_path / "net.pth"))
    network.save(tmp_path / "again.pth")
    again = Network.load(str(tmp_path / "again.pth"))
    assert torch.equal(output(again, image), output(network, image))
    assert again.weights is not None and network.weights is not None
    assert (again.weights.key, again.weights.prefix) == (network.weights.key, network.weights.prefix)


def test_names_of_the_network_itself_are_not_stripped(image: torch.Tensor, tmp_path: Path) -> None:
    """A part that is called `model` or `module` is no wrapper."""

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = files.network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x)

    from sr_hooks.networks.loading.checkpoints import load_weights

    module = Outer()
    for prefix in ("", "module.", "net_g."):
        torch.save(files.prefixed(files.prefixed(files.OTHER, "model."), prefix), tmp_path / "net.pth")
        load_weights(module, read_weights(tmp_path / "net.pth"))
        assert torch.equal(module.model.conv_first.weight, files.OTHER["conv_first.weight"])
        module.load_state_dict(files.prefixed(files.W, "model."))


def _shards(folder: Path) -> None:
    """As `save_pretrained` of Hugging Face splits large weights."""
    names = list(files.W)
    parts = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for file, inside in parts.items():
        save_file({name: files.W[name].contiguous() for name in inside}, folder / file)
    of_names = {name: file for file, inside in parts.items() for name in inside}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": of_names}))


FOLDERS = {
    "Accelerate": lambda folder: (
        save_file(files.W, folder / "model.safetensors"), torch.save(files.optimizer(), folder / "optimizer.bin")
    ),
    "pytorch_model.bin": lambda folder: torch.save(files.W, folder / "pytorch_model.bin"),
    "diffusers": lambda folder: save_file(files.W, folder / "diffusion_pytorch_model.safetensors"),
    "shards": _shards,
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_with_the_weights_of_one_network(kind: str, image: torch.Tensor, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    FOLDERS[kind](folder)
    sources = [folder, *folder.glob("*.index.json")]
    for source in sources:
        network = Network.from_import(CLASS, files.ARGUMENTS, weights=source)
        with torch.no_grad():
            assert torch.equal(network.module(image), files.network()(image))


def test_other_folders_are_named(tmp_path: Path) -> None:
    def refused(sentence: str, source: Path = tmp_path) -> None:
        with pytest.raises(CheckpointError, match=sentence):
            Network.from_import(CLASS, files.ARGUMENTS, weights=source)

    refused("it is a folder without weights")
    for name in ("model.safetensors", "model_1.safetensors", "pytorch_model.bin"):
        save_file(files.W, tmp_path / name)
    refused("with model.safetensors, model_1.safetensors, pytorch_model.bin: give the file that is meant")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.bin"}}))
    refused("it names files elsewhere", index)
    index.write_text("[1, 2]")
    refused("is no index of weights files", index)
    index.unlink()
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    refused("torch.distributed.checkpoint: convert it once by .*dcp_to_torch")
