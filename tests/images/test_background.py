"""A colour below transparent pixels, from the doors that read image files themselves: compare and a watched run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from sr_hooks.cli import main
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.training.config import parse_block
from sr_hooks.training.watch_images import image_source


@pytest.fixture
def logo(tmp_path):
    pixels = np.full((48, 48, 4), 60, np.uint8)
    pixels[:24, :, 3], pixels[24:, :, 3] = 255, 0
    cv2.imwrite(str(tmp_path / "logo.png"), pixels)
    return tmp_path / "logo.png"


def test_a_watched_block_states_it(logo):
    def images(**more):
        (plan,) = parse_block({"lam": {"window": [0, 0, 8], "image": str(logo), **more}}).analyses
        return image_source(logo.parent, None)(plan)

    (image,), names = images(background="white")
    assert names == ["logo.png"] and torch.equal(image[0, :, -1, -1], torch.ones(3))
    assert torch.allclose(image[0, :, 0, 0], torch.full((3,), 60 / 255))
    with pytest.raises(ImageError, match="transparent"):
        images()
    with pytest.raises(OptionError, match="'whitish' is no colour"):
        images(background="whitish")
    with pytest.raises(OptionError, match="background"):
        images(background=["white"])


@pytest.mark.slow
def test_compare_takes_it_and_options_of_its_figure(logo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["compare", "demo:baseline", "demo:target", "--image", str(logo), "--window", "8,8,8", "--overwrite"]
    assert main(flags) == 2 and "transparent" in capsys.readouterr().err
    assert main([*flags, "--background", "white", "--figure", "width=single", "--figure", "panels=second,zoom"]) == 0
    assert (tmp_path / "compare_result/figure.pdf").is_file()
    assert cv2.imread(str(tmp_path / "compare_result/figure.png")).shape[1] == 3.5 * 300
    assert main([*flags, "--background", "white", "--figure", "columns=networks"]) == 2
    assert "columns is no option of the figure of compare" in capsys.readouterr().err
