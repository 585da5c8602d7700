"""Windows that were kept: a grid reads the file and computes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sr_hooks.errors import OptionError
from sr_hooks.explorer.grid_file import keep_window
from sr_hooks.explorer.scene import Question, Scene
from sr_hooks.grid import read_request
from sr_hooks.images.image import read_image, write_image
from sr_hooks.images.windows import Window
from sr_hooks.networks.network import Network
from tests.support.networks import Tiny

ONE, OTHER = Question(Window(8, 8, 16, 16)), Question(Window(4, 6, 10, 12))


@pytest.fixture
def network(tmp_path):
    torch.save(Tiny().state_dict(), tmp_path / "w.pth")
    return Network.load("tests.support.networks:Tiny", weights=tmp_path / "w.pth", scale=2)


@pytest.fixture
def scene(network, small_lr, tmp_path):
    write_image(small_lr, tmp_path / "lr.png")
    return Scene({"mine": network}, tmp_path / "lr.png", file=tmp_path / "lr.png")


def test_a_grid_reads_what_was_kept(scene, tmp_path):
    file = tmp_path / "grid.yml"
    assert "8,8,16,16 kept: 1 in" in keep_window(file, scene, ONE)
    assert "kept: 2 in" in keep_window(file, scene, OTHER)
    assert "was kept already: 2 in" in keep_window(file, scene, ONE)
    request = read_request(file)
    assert [(n.name, n.weights, n.facts) for n in request.networks] == [("mine", str(tmp_path / "w.pth"), {"scale": 2})]
    assert request.images[0].windows == ((8, 8, 16, 16), (4, 6, 10, 12))
    assert request.images[0].file == tmp_path / "lr.png" and request.hr is False
    assert request.analyses == {"lam": {}}
    assert "file: lr.png" in file.read_text()  # the folder may be moved


def test_an_image_without_a_file_is_written_beside_the_grid(network, scene, photo, tmp_path):
    file = tmp_path / "sub" / "grid.yml"
    truth = photo[..., 40:88, 40:88]
    uploaded = Scene({"mine": network}, truth, hr=True, name="cat of mine.jpg")
    keep_window(file, uploaded, ONE), keep_window(file, uploaded, OTHER)
    request = read_request(file)
    assert len(request.images) == 1 and len(request.images[0].windows) == 2 and request.hr
    assert np.allclose(read_image(request.images[0].file), truth, atol=1e-6)  # 8 bits, as it was
    with pytest.raises(OptionError, match="grid of ground truth"):
        keep_window(file, scene, ONE)


def test_two_images_of_one_name_are_two(network, scene, small_lr, tmp_path):
    (tmp_path / "other").mkdir()
    write_image(small_lr.flip(-1), tmp_path / "other/lr.png")
    second = Scene({"mine": network}, tmp_path / "other/lr.png", file=tmp_path / "other/lr.png")
    for one in (scene, second):
        keep_window(tmp_path / "grid.yml", one, ONE)
    assert [image.name for image in read_request(tmp_path / "grid.yml").images] == ["lr", "lr_2"]


def test_other_options_of_lam_are_another_grid(scene, tmp_path):
    keep_window(tmp_path / "grid.yml", scene, replace(ONE, objective="intensity", path="linear:black"))
    assert read_request(tmp_path / "grid.yml").analyses == {"lam": {"objective": "intensity", "path": "linear:black"}}
    with pytest.raises(OptionError, match="objective intensity and path linear:black"):
        keep_window(tmp_path / "grid.yml", scene, ONE)


def test_a_file_of_somebody_else_is_left_alone(scene, tmp_path):
    file = tmp_path / "grid.yml"
    file.write_text("networks: {a: a.pth}  # mine\n")
    with pytest.raises(OptionError, match="not written by the explorer"):
        keep_window(file, scene, ONE)
    assert file.read_text() == "networks: {a: a.pth}  # mine\n"
    file.unlink()
    keep_window(file, scene, ONE)
    file.write_text(file.read_text().replace("windows", "window"))
    with pytest.raises(OptionError, match="no window can be added"):
        keep_window(file, scene, OTHER)


def test_modules_of_python_cannot_be_in_a_grid(network, small_lr, tmp_path):
    module = Network(Tiny())
    with pytest.raises(OptionError, match="modules of Python"):
        keep_window(tmp_path / "grid.yml", Scene({"mine": module}, small_lr), ONE)
    assert not (tmp_path / "grid.yml").exists()
    both = Scene({"file": network, "module": module}, small_lr)
    assert "a grid cannot load them: module" in keep_window(tmp_path / "grid.yml", both, ONE)
    assert [n.name for n in read_request(tmp_path / "grid.yml").networks] == ["file"]
