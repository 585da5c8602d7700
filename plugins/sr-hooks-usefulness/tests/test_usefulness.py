"""Metrics against scores: planted agreement and disagreement are named, chance is not, few networks tell nothing."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from sr_hooks_usefulness import edge_f_measure, template_match, usefulness
from sr_hooks_usefulness.agreement import agreement, holm
from sr_hooks_usefulness.command import main
from sr_hooks_usefulness.numbers import of_grid, read_scores
from torch import nn

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.grid import read_request, run_grid
from sr_hooks.images import blur, read_image, write_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> list[torch.Tensor]:
    return [read_image(path)[..., 60:124, 60:124] for path in photographs()[:3]]


class Blurred(nn.Module):
    """Passes the image blurred, as a network that is worse the larger the std."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std, self.same = std, nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3).view(3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.same(torch.cat([blur(image, [self.std], size=13) for image in x.split(1)]))


def networks(count: int) -> list[sr_hooks.Network]:
    made = [sr_hooks.Network(Blurred(0.4 + 0.25 * i), scale=1, multiple=1, channels=3) for i in range(count)]
    for i, network in enumerate(made):
        network.name = f"blur {i}"
    return made


def run(count: int, images, **options):
    first, *others = networks(count)
    return sr_hooks.run("usefulness", first, images, others=others, metrics=("psnr_y", "ssim_y"), draws=500, **options)


@pytest.mark.parametrize("task", ["edges", "template"])
def test_both_tasks_agree_with_psnr_where_networks_only_blur(images, task):
    result = run(8, images, task=task)
    row = next(row for row in result.scalars["metrics"] if row["metric"] == "psnr_y")
    assert row["spearman"] == pytest.approx(1) and row["kendall"] == pytest.approx(1) and row["low"] > 0.5
    assert "psnr_y agrees with" in result.verdict and "ssim_y agrees with" in result.verdict
    assert row["spearman_pairs"] < 1, "images differ in difficulty, which pairs count and means do not"
    words = [text.get_text() for axes in result.figure().axes for text in axes.get_yticklabels()]
    assert {"psnr_y", "ssim_y"} <= set(words)


def test_a_planted_disagreement_runs_against_and_chance_cannot_be_told(images):
    def smoothness(output, target):
        return -float((output[..., 1:] - output[..., :-1]).abs().mean())

    assert "psnr_y runs against smoothness" in run(8, images, task=smoothness).verdict
    draws = iter(np.random.default_rng(3).normal(size=1000))
    assert "agrees" not in (verdict := run(8, images, task=lambda output, target: next(draws)).verdict)
    assert "cannot tell for" in verdict and "against" not in verdict


def test_five_networks_tell_nothing_however_well_they_agree(images):
    result = run(5, images)
    assert result.scalars["metrics"][0]["spearman"] == pytest.approx(1)
    assert result.verdict.startswith("cannot tell: 5 networks")


def test_chance_is_named_no_more_often_than_stated():
    """Over 60 tables of independent numbers at most 10 % are called different from zero."""
    named = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        row = agreement(rng.normal(size=(8, 5)), rng.normal(size=(8, 5)), draws=200, rng=rng)
        named += row["p"] <= 0.05 and not row["low"] <= 0 <= row["high"]
    assert named <= 6


def test_correlations_are_scipys_and_the_fit_is_logistic():
    rng = np.random.default_rng(0)
    x = np.linspace(-3, 3, 20)[:, None] + 0 * rng.normal(size=(20, 4))
    y = 40 + 30 / (1 + np.exp(-4 * (x - 1))) + 0.05 * rng.normal(size=x.shape)
    row = agreement(x, y, draws=50, rng=rng)
    assert row["spearman"] == pytest.approx(stats.spearmanr(x.mean(1), y.mean(1)).statistic)
    assert row["kendall_pairs"] is None, "x is equal for all images of a network"
    assert row["pearson"] > 0.999 > 0.95 > stats.pearsonr(x.mean(1), y.mean(1)).statistic
    falling = agreement(x, -y, draws=50, rng=rng)
    assert falling["spearman"] == pytest.approx(-row["spearman"]) and falling["pearson"] > 0.999
    assert agreement(x * 0, y, draws=50, rng=rng)["spearman"] is None
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_tasks_are_one_for_the_truth_and_know_where_things_are(images):
    for image in images:
        assert edge_f_measure(image, image) == 1 and template_match(image, image) == pytest.approx(1)
        near, far = image.roll(1, -1), image.roll(4, -1)
        assert template_match(near, image) > 0.9 > 0.5 > template_match(far, image)
        assert edge_f_measure(near, image) > 0.9 > edge_f_measure(far, image)
        assert edge_f_measure(image * 0, image) == 0 == template_match(image * 0, image)


class TestGrid:
    @pytest.fixture(scope="class")
    @staticmethod
    def grid(tmp_path_factory, images):
        folder = tmp_path_factory.mktemp("grid")
        for i, image in enumerate(images[:2]):
            write_image(image, folder / f"photo{i}.png")
        content = {
            "networks": {"before": "demo:baseline", "after": "demo:target"},
            "images": [str(folder / f"photo{i}.png") for i in range(2)],
            "windows": [[16, 16, 16], [32, 32, 16]],
            "analyses": {"lam": {"steps": 3}},
        }
        (folder / "grid.yml").write_text(yaml.safe_dump(content, sort_keys=False))
        run_grid(read_request(folder / "grid.yml"), folder / "out", jobs=1)
        return folder / "out"

    def test_its_numbers_are_those_of_its_table(self, grid):
        numbers = of_grid(grid)
        assert numbers.networks == ("before", "after") and len(numbers.images) == 2
        with (grid / "table.csv").open() as stream:
            rows = [row for row in csv.DictReader(stream) if row["network"] == "after"]
        expected = [float(row["diffusion_index"]) for row in rows if row["image"] == numbers.images[1]]
        assert len(expected) == 2 and numbers.values["diffusion_index"][1, 1] == pytest.approx(np.mean(expected))

    def test_against_scores_in_the_command(self, grid, tmp_path, capsys):
        scores = tmp_path / "opinions.csv"
        scores.write_text("network,score\nbefore,1.5\nafter,3\n")
        assert main([str(grid), str(scores), "--out", str(tmp_path / "out"), "--draws", "50"]) == 0
        text = capsys.readouterr().out
        assert "diffusion_index" in text and "cannot tell: 2 networks" in text
        assert sr_hooks.load(tmp_path / "out").scalars["score"] == "opinions"
        scores.write_text("network,score\nbefore,1.5\naftr,3\n")
        assert main([str(grid), str(scores), "--out", str(tmp_path / "no")]) == 2
        assert "no score of the network 'after'; did you mean aftr" in capsys.readouterr().err
        with pytest.raises(sr_hooks.SRHooksError, match=r"table\.csv"):
            usefulness(tmp_path, scores)

    def test_scores_by_image(self, tmp_path):
        file = tmp_path / "scores.csv"
        file.write_text("network,image,score\na,x,1\na,y,2\nb,x,3\nb,y,nan\n")
        values = read_scores(file, ["b", "a"], ["x", "y"])
        assert values[1].tolist() == [1, 2] and values[0, 0] == 3 and np.isnan(values[0, 1])
