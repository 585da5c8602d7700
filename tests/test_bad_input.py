"""What a person may get wrong: each has its own clear error, no traceback, and nothing left behind."""

from __future__ import annotations

import os
import pickle
import re

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.errors import (
    CheckpointError,
    ImageError,
    NetworkError,
    OptionError,
    ResultError,
    TapError,
    WindowError,
)
from sr_hooks.images.image import read_image, write_image
from tests.support.networks import Answering, Tiny

WINDOW = (8, 8, 8)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((120, 8, 16), "128 pixels high and 128 wide: choose top in 0..112"),
        ((-1, 8, 16), "leaves the output"),
        ((0, 0, 200), "larger than the output, which is 128x128"),
        ((8, 8, 0), "empty"),
        ((8, 8, 4, 0), "empty"),
        ((8, 8), "not understood"),
        ((8, 8, 4.5), "not understood"),
        ("here", "not understood"),
    ],
)
def test_windows(lr, window, message):
    with pytest.raises((WindowError, OptionError), match=re.escape(message)):
        sr_hooks.lam(Tiny(), lr, window=window)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :2], "2 channels"),
        (lambda x: torch.cat([x, x[:, :1]], 1), "4 channels.*alpha"),
        (lambda x: (x * 255).to(torch.uint8), "image.float() / 255"),
        (lambda x: (x * 65535).numpy().astype(np.uint16), "divide by 65535"),
        (lambda x: torch.full_like(x, float("nan")), "NaN or infinite"),
        (lambda x: x * 255, "divide an 8-bit image by 255"),
        (lambda x: x * 2 - 1, "sr_hooks takes [0, 1]"),
        (lambda x: x[0, 0], "shape (64, 64)"),
        (lambda x: x.permute(0, 2, 3, 1), "(H,W,C)"),
        (lambda x: x[..., :0], "none of them 0"),
        (lambda x: "no_such_file.png", "no_such_file.png"),
        (lambda x: [1, 2], "a list"),
    ],
)
def test_images(lr, spoil, message):
    pattern = message if "*" in message else re.escape(message)
    with pytest.raises(ImageError, match=pattern):
        sr_hooks.lam(Tiny(), spoil(lr), window=WINDOW)


def test_an_rgb_image_for_a_grey_network(lr):
    with pytest.raises(ImageError, match=re.escape("3 channel(s) and Tiny takes 1")):
        sr_hooks.lam(Tiny(channels=1), lr, window=WINDOW)


def test_image_files(tmp_path, photo):
    import cv2

    good = tmp_path / "good.png"
    write_image(photo, good)
    assert torch.allclose(read_image(good), photo, atol=1 / 255)
    array = (photo[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([array, array[:, :, :1]]))
    cv2.imwrite(str(tmp_path / "deep.png"), array.astype(np.uint16) * 257)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "short.png").write_bytes(good.read_bytes()[:5000])
    jpeg = tmp_path / "good.jpg"
    write_image(photo, jpeg)
    (tmp_path / "short.jpg").write_bytes(jpeg.read_bytes()[:3000])
    deep = torch.from_numpy(array[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    assert torch.equal(read_image(tmp_path / "deep.png"), deep)  # cv2.imwrite takes BGR
    cases = {
        "alpha.png": "4 channels",
        "empty.png": "truncated",
        "text.png": "not a readable image",
        "short.png": "truncated",
        "short.jpg": "truncated",
        "none.png": "No such file",
        ".": "is a folder",
    }
    for name, message in cases.items():
        with pytest.raises(ImageError, match=message):
            read_image(tmp_path / name)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile_was_here",)


def test_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pth"
    torch.save({"params": Tiny().state_dict()}, good)
    torch.save(Tiny().state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "short.pth").write_bytes(good.read_bytes()[:700])
    (tmp_path / "short_legacy.pth").write_bytes((tmp_path / "legacy.pth").read_bytes()[:700])
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"params": Hostile()}, tmp_path / "hostile.pth")
    (tmp_path / "hostile_bare.pth").write_bytes(pickle.dumps(Hostile()))
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    torch.save({"params": Tiny(features=16).state_dict()}, tmp_path / "wide.pth")
    renamed = {key.replace("head", "front"): value for key, value in Tiny().state_dict().items()}
    torch.save({"params": renamed}, tmp_path / "renamed.pth")
    cases = {
        "missing.pth": "no weights file",
        "short.pth": "truncated",
        "short_legacy.pth": "truncated",
        "text.pth": "truncated",
        "empty.pth": "truncated",
        "text.safetensors": "not a sound safetensors",
        "hostile.pth": "system.*run code",
        "hostile_bare.pth": "refused|run code|truncated",
        "none.pth": "holds no weights.*epoch",
        "wide.pth": r"head.weight is \(16, 3, 3, 3\) in the file and \(8, 3, 3, 3\)",
        "renamed.pth": "not in the file: head.weight, head.bias.*not in the network: front.weight",
    }
    for name, message in cases.items():
        with pytest.raises(CheckpointError, match=message):
            sr_hooks.Network.from_import("tests.support.networks:Tiny", weights=tmp_path / name)
    assert not (tmp_path / "hostile_was_here").exists()
    assert sr_hooks.Network.from_import("tests.support.networks:Tiny", weights=good).weights.key == "params"
    assert (
        sr_hooks.Network.from_import("tests.support.networks:Tiny", weights=tmp_path / "legacy.pth").weights.key == ""
    )


def test_weights_are_found_where_they_are_kept(tmp_path):
    plain, ema = Tiny().state_dict(), {k: v + 1 for k, v in Tiny().state_dict().items()}
    torch.save({"params": plain, "params_ema": {f"module.{k}": v for k, v in ema.items()}}, tmp_path / "both.pth")
    network = sr_hooks.Network.from_import("tests.support.networks:Tiny", weights=tmp_path / "both.pth")
    assert (network.weights.key, network.weights.prefix) == ("params_ema", "module.")
    assert torch.equal(network.module.head.weight, ema["head.weight"])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Answering(lambda y: (y, y)), "a tuple of 2, not one image.*output=0"),
        (Answering(lambda y: {"sr": y, "lq": y}), r"a dict with keys 'sr', 'lq'.*There is \['sr'\] \(1, 3, 17, 19\), "),
        (Answering(lambda y: y[..., :-3, :]), "returned 14x19 pixels for an input of 17x19: that is no scale"),
        (Answering(lambda y: y.mean((2, 3))), r"not \(N,C,H,W\)"),
        (Answering(lambda y: y * float("nan")), "NaN or infinite"),
        (Answering(lambda y: y.detach()), "no gradient reaches the input"),
        (Answering(lambda y: 1 / 0), "does not run on small test images.*ZeroDivisionError"),
        (Tiny, "is a class; give an instance"),
        ("Tiny", "not a str"),
    ],
)
def test_networks(lr, module, message):
    with pytest.raises(NetworkError, match=message):
        sr_hooks.lam(module, lr, window=WINDOW)


@pytest.mark.slow
def test_wrong_scale_is_named_and_output_can_be_selected(lr):
    with pytest.raises(NetworkError, match="scale=4 was stated"):
        sr_hooks.lam(sr_hooks.Network(Tiny(), scale=4), lr, window=WINDOW)
    pair = sr_hooks.Network(Answering(lambda y: {"flow": y[:, :2], "sr": y}), output="sr")
    assert sr_hooks.lam(pair, lr, window=WINDOW, steps=3).map.shape == (64, 64)
    with pytest.raises(NetworkError, match="output='hr' is not in it"):
        sr_hooks.lam(sr_hooks.Network(Answering(lambda y: {"sr": y}), output="hr"), lr, window=WINDOW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "gradint"}, "did you mean gradient"),
        ({"objective": "channel:9"}, "channels 0 to 2"),
        ({"objective": "channel:x"}, "channel:x"),
        ({"objective": "loss"}, "ground truth"),
        ({"objective": lambda p: p.sum().item()}, "one scalar tensor"),
        ({"objective": lambda p: p}, "one scalar tensor"),
        ({"objective": lambda p: p.sum().detach()}, "not differentiable"),
        ({"path": "blurr"}, "did you mean blur"),
        ({"path": "blur:-1"}, "must be above 0"),
        ({"path": "linear:red"}, "black, mean, blur"),
        ({"path": lambda x, t: x * 0.5}, "the image itself at t=1"),
        ({"steps": 1}, "at least 2"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"tolerance": 0}, "above 0"),
        ({"precision": "float8"}, "must be float32, tf32, bfloat16"),
        ({"compat": "paper"}, "must be lam_demo"),
        ({"compat": "lam_demo", "path": "black"}, "published procedure"),
    ],
)
def test_options(lr, options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        sr_hooks.lam(Tiny(), lr, window=WINDOW, **options)


def test_unknown_names():
    with pytest.raises(OptionError, match="did you mean lam"):
        sr_hooks.run("lamm", Tiny())
    with pytest.raises(OptionError, match="unknown option 'windw'; did you mean window"):
        sr_hooks.run("lam", Tiny(), None, windw=1)
    with pytest.raises(OptionError, match="window must be given, for instance"):
        sr_hooks.run("lam", Tiny(), None)
    with pytest.raises(TapError, match="did you mean tail"), sr_hooks.capture(Tiny(), ["tial"]):
        pass
    for target, message in {
        "tests.support.networks:Tiney": "did you mean Tiny",
        "tests.nothing:Tiny": "cannot import",
        "Tiny": "names no class",
        "nothing.py:Tiny": "no file",
    }.items():
        with pytest.raises(NetworkError, match=message):
            sr_hooks.Network.from_import(target)
    with pytest.raises(NetworkError, match="cannot build Tiny with depth=3"):
        sr_hooks.Network.from_import("tests.support.networks:Tiny", {"depth": 3})


def test_output_folders(tmp_path, lr):
    result = sr_hooks.lam(Tiny(), lr, window=WINDOW, steps=3)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("mine")
    for name, message in {"file": "is a file", "file/below": "is a file", "full": "holds other files"}.items():
        with pytest.raises(ResultError, match=message):
            result.save(tmp_path / name)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "full", "thesis.tex"]
    assert (tmp_path / "full/thesis.tex").read_text() == "mine"


def test_unwritable_folder(tmp_path, lr, monkeypatch):
    """As root every folder is writable, so the refusal is forced."""
    result = sr_hooks.lam(Tiny(), lr, window=WINDOW, steps=3)
    monkeypatch.setattr(os, "access", lambda *a: False)
    with pytest.raises(ResultError, match="no permission"):
        result.save(tmp_path / "out")
    monkeypatch.undo()

    def refuse(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", refuse)
    with pytest.raises(ResultError, match="No space left"):
        result.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
