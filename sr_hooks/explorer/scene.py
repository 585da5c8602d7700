"""`Scene`: an image with the outputs of several networks for it, and LAM's answers about windows of them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.lam.analysis import lam
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.attribution.receptive_field.own_output import own_output
from sr_hooks.core.progress import Stopped
from sr_hooks.core.text import one_line
from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import ImageError, SRHooksError
from sr_hooks.figures.data_uri import pixels_uri
from sr_hooks.figures.shrink import showing_bands
from sr_hooks.images.image import as_batch, downsample, upsample
from sr_hooks.images.windows import Window, window_with_most_edges
from sr_hooks.inference.inputs import check_input, read_images
from sr_hooks.networks.network import Network

__all__ = ["Answer", "Question", "Scene", "message_of"]

_REMEMBERED = 8  # answers, so that a change of colours computes nothing
_log = logging.getLogger("sr_hooks")


@dataclass(frozen=True)
class Question:
    """What is asked of every network: a window of its output, and LAM's options."""

    window: Window
    objective: str = "gradient"
    path: str = "blur"


@dataclass(frozen=True)
class Answer:
    """The answer of one network: its result, or why there is none, in one line."""

    name: str
    result: LamResult | None = None
    error: str = ""


class Scene:
    """An image, the inputs that networks get of it, and their outputs.

    Attributes:
        networks: name to network; the first one's output is the picture that is clicked, unless another is chosen.
        name: of the image, as results call it.
        file: the image's file; None for an image that is none.
        hr: whether the image is ground truth, which is shrunk by each network's scale.
        pictures: name to output (C,H,W), clipped to [0, 1].
    """

    def __init__(
        self, networks: Mapping[str, Network], image: Any, *, hr: bool = False, name: str = "", file: Path | None = None
    ) -> None:
        """Read the image, and run every network on it.

        Raises:
            SRHooksError: the image cannot be read, or the first network cannot take it.
        """
        self.networks, self.hr, self.file = dict(networks), hr, file
        self.name = name or (file.name if file else "image")
        self.truth = as_batch(image, bands=next(iter(networks.values())).channels)[:1] if hr else None
        self.image = image
        self._inputs: dict[str, torch.Tensor] = {}
        self._failures: dict[str, str] = {}
        self.pictures: dict[str, np.ndarray] = {}
        self._answers: OrderedDict[Question, list[Answer]] = OrderedDict()
        for network_name, network in self.networks.items():
            try:
                self._run(network_name, network)
            except (SRHooksError, MemoryError, RuntimeError) as error:
                if network_name == next(iter(self.networks)):
                    raise
                self._failures[network_name] = message_of(error)

    def uri(self, name: str, picture: np.ndarray) -> str:
        """A picture (C,h,w) of a network as a data URI; of one of bands those that the network states."""
        with showing_bands(self.networks[name].bands):
            return pixels_uri(picture)

    def _run(self, name: str, network: Network) -> None:
        image = self.image if self.truth is None else downsample(self.truth, network.scale)
        images = read_images(network, image, one_batch=True)
        if len(images) != 1:
            raise ImageError(f"{len(images)} images are given, and the explorer shows one")
        check_input(network, images[0])
        framed = network
        if network.frames:
            framed = network.at_frame(network.frame_index(images[0].shape[1], "middle"))
        with network.prepared():
            output = own_output(framed, images[0]).parts[0][1][0].numpy()
        size = self.size if self.pictures else output.shape[-2:]
        if output.shape[-2:] != size:
            hint = "" if self.hr else "; ground truth as the image (hr) gives outputs of one size"
            raise ImageError(
                f"the output is {output.shape[-2]}x{output.shape[-1]}, and the picture is {size[0]}x{size[1]}: "
                f"their windows are not the same{hint}"
            )
        self._inputs[name] = images[0]
        self.pictures[name] = np.clip(output, 0, 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output, in pixels."""
        height, width = next(iter(self.pictures.values())).shape[-2:]
        return height, width

    def liveliest(self) -> Window:
        """The window with most edges, which is shown first: that of `window="auto"`."""
        picture = next(iter(self._inputs.values()))
        still = picture[:, picture.shape[1] // 2] if picture.ndim == 5 else picture
        return window_with_most_edges(upsample(still, self.size))

    def still_image(self) -> torch.Tensor:
        """(1,C,h,w): the image as it was given, ground truth or input.

        Raises:
            ImageError: it is a clip.
        """
        image = next(iter(self._inputs.values())) if self.truth is None else self.truth
        if image.ndim == 5:
            raise ImageError("a clip cannot be kept for a grid, which has images alone")
        return image

    def answers(self, question: Question) -> list[Answer]:
        """The answer of each network; of a question that was asked lately, those from then.

        An error of one network is that network's answer, in one line.
        """
        if question in self._answers:
            self._answers.move_to_end(question)
            return self._answers[question]
        answers = [self._answer(name, network, question) for name, network in self.networks.items()]
        self._answers[question] = answers
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return answers

    def _answer(self, name: str, network: Network, question: Question) -> Answer:
        if name in self._failures:
            return Answer(name, error=self._failures[name])
        try:
            result = lam(
                network,
                self._inputs[name],
                window=[question.window],
                objective=question.objective,
                path=question.path,
                gt=self._truth_of_output(),
            )[0]
        except Stopped:
            raise
        except Exception as error:  # of one network: the others answer, and the page stays
            return Answer(name, error=message_of(error))
        result.provenance["input_file"] = self.name
        return Answer(name, result)

    def _truth_of_output(self) -> torch.Tensor | None:
        """The ground truth, as large as the output; None where there is none, or a smaller one."""
        height, width = self.size
        if self.truth is None or self.truth.shape[-2] < height or self.truth.shape[-1] < width:
            return None
        return self.truth[..., :height, :width]


def message_of(error: BaseException) -> str:
    """One line on an error. What is no user's mistake is logged whole, and called a fault of ours."""
    if isinstance(error, SRHooksError):
        return one_line(str(error), 900)
    if is_out_of_memory(error) or isinstance(error, MemoryError):
        return "out of memory: a smaller image may help"
    _log.error("an error in the explorer", exc_info=error)
    reason = one_line(f"{type(error).__name__}: {error}", 300)
    return f"a fault of ours, please report it with the lines in the terminal: {reason}"
