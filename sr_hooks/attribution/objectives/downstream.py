"""Objectives behind a second network: what a detector, a recogniser or a feature loss reads in the window."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.errors import ImageError, NetworkError, OptionError, nearest
from sr_hooks.images.image import as_batch
from sr_hooks.images.windows import Window
from sr_hooks.networks.loading.checkpoints import read_weights
from sr_hooks.networks.loading.foreign_code import module_from_file, named_in_module

__all__ = ["Downstream"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's classifiers take them


class Downstream(Objective):
    """The sum of what a second network computes from the window, or the loss of that network against the ground truth.

    The second network receives the window alone, (1,C,height,width) float32 RGB in [0, 1], and no pixel around it. The
    elements of the tensor that it returns are summed. If its forward takes two tensors without defaults, the second
    is the same window of the ground truth, and the tensor that it returns is a loss. Its parameters are fixed, and it
    runs in evaluation mode.

    Not for: a second network that needs pixels around the window (make the window as large as the output); a second
    network without a gradient.

    Args:
        name: the name in results.
        extractor: the second network.
        truth: (1,C,H,W) in [0, 1], of the size of the output; needed by a forward of two tensors.

    Examples:
        >>> import torch
        >>> from pathlib import Path
        >>> from sr_hooks.attribution import make_objective
        >>> from sr_hooks.images import Window
        >>> _ = Path("loss.py").write_text("from torch.nn import L1Loss")
        >>> objective = make_objective("module:loss.py:L1Loss", gt=torch.ones(1, 3, 8, 8))
        >>> float(objective(torch.zeros(1, 3, 8, 8), None, Window(0, 0, 4, 4)))  # the mean absolute difference
        1.0
    """

    runs_foreign_code = True

    def __init__(self, name: str, extractor: nn.Module, truth: torch.Tensor | None = None) -> None:
        self.name, self.truth = name, truth
        self.extractor = extractor.eval().requires_grad_(False)
        self.takes_truth = _tensors_of(extractor) > 1

    @classmethod
    def feature(cls, argument: str) -> Downstream:
        """From `NAME:LAYER` or `NAME:LAYER:FILE`: the output of a layer of a torchvision classifier.

        The weights come from FILE, or from torch's cache of weights, if an earlier program put them there. Nothing is
        downloaded. Images are normalised by the mean and std of ImageNet.

        Raises:
            OptionError: torchvision is missing; there is no such network or layer; there is no local file of weights,
                or the file does not hold the weights of these layers.

        Examples:
            >>> import torch, torchvision
            >>> from sr_hooks.attribution import make_objective
            >>> from sr_hooks.images import Window
            >>> torch.save(torchvision.models.squeezenet1_1().state_dict(), "random.pth")  # for a trial
            >>> objective = make_objective("feature:squeezenet1_1:features.0:random.pth")
            >>> objective(torch.rand(1, 3, 32, 32), None, Window(0, 0, 16, 16)).shape
            torch.Size([1])
        """
        name, _, rest = argument.partition(":")
        layer, _, file = rest.partition(":")
        if not name or not layer:
            raise OptionError("objective feature is feature:NETWORK:LAYER[:WEIGHTS], e.g. feature:vgg16:features.8")
        return cls(f"feature:{name}:{layer}", _Normalised(_classifier_up_to(name, layer, file)))

    @classmethod
    def module_in_file(cls, argument: str) -> Downstream:
        """From `FILE.py:CLASS` or `FILE.py:CLASS:WEIGHTS`: a module built without arguments. The file's code runs.

        Raises:
            OptionError: not of this form, CLASS builds no module, or WEIGHTS belong to another module.
            NetworkError: the file or the class is missing, or fails.
            CheckpointError: WEIGHTS cannot be read.
        """
        file, _, rest = argument.partition(".py:")
        name, _, weights = rest.partition(":")
        if not file or not name:
            raise OptionError("objective module is module:FILE.py:CLASS[:WEIGHTS], e.g. module:detector.py:Loss")
        path = Path(f"{file}.py")
        with module_from_file(path) as code:
            try:
                made = named_in_module(code, name, str(path))()
            except (NetworkError, OptionError):
                raise
            except Exception as error:
                raise NetworkError(f"{name} of {path} cannot be built without arguments: {error}") from error
        if not isinstance(made, nn.Module):
            raise OptionError(f"{name} of {path} is a {type(made).__name__}, and must be a torch module")
        if weights:
            _load(made, weights)
        return cls(f"module:{path.name}:{name}", made)

    def against(self, truth: Any) -> Downstream:
        """The same objective with the ground truth, where it takes one.

        Raises:
            OptionError: it takes one and there is none.
        """
        if not self.takes_truth:
            return self
        if truth is None:
            raise OptionError(f"objective {self.name} compares with the ground truth: gt=(1,C,H,W) in [0, 1]")
        return Downstream(self.name, self.extractor, as_batch(truth, what="the ground truth"))

    def __call__(self, output: torch.Tensor, inputs: torch.Tensor, window: Window) -> torch.Tensor:
        patch = window.crop(output)
        if not self.takes_truth:
            return torch.stack([self.values(one).sum(dtype=torch.float64) for one in patch.split(1)])
        assert self.truth is not None, "made by `against`"
        if self.truth.shape[-2:] != output.shape[-2:]:
            raise ImageError(
                f"the ground truth is {tuple(self.truth.shape[-2:])}, the output {tuple(output.shape[-2:])}"
            )
        truth = window.crop(self.truth.to(output))
        return torch.stack([self.values(one, truth).sum(dtype=torch.float64) for one in patch.split(1)])

    def loss(self, output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Of whole images, 0-d: the loss of a forward of two tensors, else the squared distance of both features."""
        if self.takes_truth:
            return self.values(output, truth).sum()
        return (self.values(output) - self.values(truth)).square().sum()

    def values(self, *images: torch.Tensor) -> torch.Tensor:
        """What the second network returns for images (N,C,H,W)."""
        if (parameter := next(self.extractor.parameters(), None)) is not None and parameter.device != images[0].device:
            self.extractor.to(images[0].device)
        values = self.extractor(*images)
        if not isinstance(values, torch.Tensor):
            raise OptionError(f"the objective {self.name} must return one tensor, not {type(values).__name__}")
        return values


class _Normalised(nn.Module):
    """Layers of a torchvision classifier, on images of [0, 1]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[1] not in (1, 3):
            raise ImageError(f"a torchvision classifier reads RGB, and the output has {image.shape[1]} channels")
        features: torch.Tensor = self.layers((image - self.mean) / self.std)["features"]
        return features


def _tensors_of(module: nn.Module) -> int:
    """How many tensors without a default the forward takes."""
    parameters = inspect.signature(module.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)


def _classifier_up_to(name: str, layer: str, file: str) -> nn.Module:
    """The layers of a torchvision network that its layer needs, with weights from a local file."""
    try:
        from torchvision import models
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
    except ImportError:
        raise OptionError(f"objective feature:{name} needs torchvision: pip install torchvision") from None
    if name not in models.list_models():
        raise OptionError(f"torchvision has no network {name!r}; {nearest(name, models.list_models())}")
    weights = file or _cached(name)
    if not Path(weights).is_file():
        raise OptionError(
            f"no weights of {name} at {weights}, and sr_hooks downloads none: download them yourself, and name the "
            f"file: feature:{name}:{layer}:weights.pth"
        )
    network = models.get_model(name, weights=None, **_no_download(models, name)).eval()
    layers: nn.Module
    try:
        layers = create_feature_extractor(network, {layer: "features"})
    except ValueError:
        names = get_graph_node_names(network)[1]
        raise OptionError(f"{name} has no layer {layer!r}; {nearest(layer, names)}") from None
    _load(layers, weights)
    return layers


def _no_download(models: Any, name: str) -> dict[str, None]:
    """Networks of detection and segmentation would fetch weights of their backbone."""
    build = models.get_model_builder(name)
    return {"weights_backbone": None} if "weights_backbone" in inspect.signature(build).parameters else {}


def _cached(name: str) -> str:
    """Where torch keeps the weights of a torchvision network, if a program downloaded them."""
    from torchvision.models import get_model_weights

    file = Path(get_model_weights(name).DEFAULT.url).name
    return str(Path(torch.hub.get_dir()) / "checkpoints" / file)


def _load(module: nn.Module, file: str) -> None:
    """Load what the module needs; layers of the file that it does not have, such as a classifier's, are left out."""
    state, own = read_weights(file).state, module.state_dict()
    wrong = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]
    if wrong:
        there = "has another shape" if wrong[0] in state else "is missing"
        raise OptionError(f"{file} does not hold the weights that the objective needs: {wrong[0]} {there}")
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
