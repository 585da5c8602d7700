"""The analysis: networks on images with ground truth, every metric and a task's score of each output."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import make_inputs, other_networks
from sr_hooks.core import progress_bar
from sr_hooks.errors import NetworkError, OptionError, nearest
from sr_hooks.images import make_metric, quantise
from sr_hooks_usefulness.answer import answer_of
from sr_hooks_usefulness.numbers import Numbers, of_grid, read_scores
from sr_hooks_usefulness.tasks import edge_f_measure, template_match

__all__ = ["Usefulness", "UsefulnessOptions"]

Score = Callable[[torch.Tensor, torch.Tensor], Any]
_TASKS: dict[str, Score] = {"edges": edge_f_measure, "template": template_match}


@dataclass(frozen=True)
class UsefulnessOptions:
    """Options of usefulness."""

    others: Any = sr_hooks.option(
        (), "the other networks, checkpoint files or architectures, of the same scale; six in all at least",
        checked=False,
    )  # fmt: skip
    task: Any = sr_hooks.option(
        "edges", "edges (F-measure), template (patches found again), or in Python a function (output, target) to a "
        "number", checked=False,
    )  # fmt: skip
    scores: str | None = sr_hooks.option(
        None, "instead of a task a CSV with the columns network and score, and image where scores are by image (image "
        "0 is called 0)",
    )  # fmt: skip
    metrics: Any = sr_hooks.option(
        ("psnr_y", "ssim_y", "psnr-shift:1", "fsds"),
        "psnr_y, ssim_y, psnr-shift:K, fsds (of sr-hooks-spectra, left out where it is not installed), pyiqa's",
        checked=False,
    )  # fmt: skip
    grid: str | None = sr_hooks.option(
        None, "a folder of sr-hooks grid: its numbers (DI, CHI, SRGA) are compared too, of networks of the same names"
    )
    degradation: Any = sr_hooks.option("clean", "how inputs are made of the images: clean, blur:2, ...")
    draws: int = sr_hooks.option(2000, "of the bootstrap and the permutations", at_least=20, at_most=100_000)
    seed: int = sr_hooks.option(0, "of degradation, bootstrap and permutations", at_least=0)


class Usefulness(sr_hooks.Analysis[UsefulnessOptions]):
    """Which metric ranks networks as a task or as people do?"""

    name = "usefulness"
    options_type = UsefulnessOptions
    takes = "hr"

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: UsefulnessOptions) -> sr_hooks.Result:
        networks = other_networks(options.others, network)
        metrics, absent = _metrics(options.metrics)
        task, task_name = _task(options.task)
        inputs = make_inputs(network, images, options.degradation, clip=True, seed=options.seed).in_the_middle()
        shape = (len(networks), len(inputs))
        values = {name: np.full(shape, np.nan) for name in metrics}
        score = np.full(shape, np.nan)
        with progress_bar("usefulness", shape[0] * shape[1], unit="outputs") as bar:
            for row, (name, each) in enumerate(networks.items()):
                for column, (gt, (lr, *_)) in enumerate(zip(inputs.gt, inputs.lr, strict=True)):
                    output = quantise(each(lr.to(each.device))).cpu()
                    if output.shape != gt.shape:
                        raise NetworkError(f"{name} makes {tuple(output.shape)}, and the truth is {tuple(gt.shape)}")
                    for metric, measure in metrics.items():
                        values[metric][row, column] = float(measure(output, gt))
                    if options.scores is None:
                        score[row, column] = float(task(output, gt))
                    bar.update(1)
        numbers = Numbers(tuple(networks), tuple(str(i) for i in range(len(inputs))), values)
        if options.grid is not None:
            numbers = numbers.with_numbers(of_grid(options.grid))
        if options.scores is not None:
            score, task_name = read_scores(options.scores, numbers.networks, numbers.images), "the scores"
        facts = {**inputs.describe(), **({"left_out": absent} if absent else {})}
        return answer_of(numbers, score, task_name, draws=options.draws, seed=options.seed, facts=facts)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: Any = None) -> Any:
        from sr_hooks_usefulness.figure import usefulness_figure

        return usefulness_figure(result, options)


def _metrics(names: Any) -> tuple[dict[str, Score], list[str]]:
    """The metrics by name, and those that are left out since their package is not installed."""
    metrics: dict[str, Score] = {}
    absent = []
    for name in [names] if isinstance(names, str) else names:
        if name == "fsds":
            try:
                metrics[name] = importlib.import_module("sr_hooks_spectra").fsds
            except ImportError:
                absent.append("fsds: pip install ./plugins/sr-hooks-spectra")
        else:
            metrics[name] = make_metric(name)
    return metrics, absent


def _task(task: Any) -> tuple[Score, str]:
    if callable(task):
        return task, getattr(task, "__name__", type(task).__name__)
    if task not in _TASKS:
        raise OptionError(f"no task {task!r}; {nearest(str(task), _TASKS)}")
    return _TASKS[task], f"the task {task}"
