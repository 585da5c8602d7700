"""Weight paths: from a baseline checkpoint to a target, and the loss's gradient anywhere between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.inference.calibration import ExecutionPlan, autocast, to_cpu, to_device
from sr_hooks.networks.network import Network

__all__ = ["StraightPath", "WeightGradients", "at_weights", "inner_product", "squared_error"]


def at_weights(network: Network, weights: Mapping[str, torch.Tensor]) -> Network:
    """The network at other weights, sharing everything else with the live one, which stays as it is.

    Args:
        weights: parameter name to tensor; gradients flow into them. What is not named keeps its own value.
    """
    return network.with_weights(weights)


class StraightPath:
    """theta(t) = (1 - t) * theta_b + t * theta: from the baseline's parameters at t=0 to the target's at t=1.

    Buffers (running statistics) are the target's all along.

    Args:
        start, end: parameter name to tensor, the same names and shapes; see `between` for two networks.
        moving: the names of those that have gradients taken; None for those that differ, since the others have
            nothing to attribute.
    """

    def __init__(
        self, start: Mapping[str, torch.Tensor], end: Mapping[str, torch.Tensor], moving: Sequence[str] | None = None
    ) -> None:
        self.start, self.end = dict(start), dict(end)
        if moving is None:
            differs = _flags([(self.start[name] != value).any() for name, value in self.end.items()])
            moving = [name for name, differing in zip(self.end, differs, strict=True) if differing]
        self.moving = list(moving)

    @classmethod
    def between(cls, baseline: nn.Module, target: nn.Module) -> StraightPath:
        """The path from one network's weights to another's, in the target's state-dict order and on its device.

        Raises:
            NetworkError: the two have not the same parameters, by name and shape, or some are not finite.
        """
        end = {name: p.detach() for name, p in target.named_parameters()}
        start_weights = {name: p.detach() for name, p in baseline.named_parameters()}
        _compare(start_weights, end, type(baseline).__name__, type(target).__name__)
        start = {name: start_weights[name].to(value) for name, value in end.items()}
        finite = _flags([(start[name].isfinite() & end[name].isfinite()).all() for name in end])
        broken = [name for name, whole in zip(end, finite, strict=True) if not whole]
        if broken:
            raise NetworkError(f"{broken[0]} holds NaN or infinite weights in the baseline or the target")
        return cls(start, end)

    def at(self, t: float) -> dict[str, torch.Tensor]:
        """The parameters at t of [0, 1]; at the ends they are the checkpoints' own."""
        if t in (0, 1):
            return dict(self.end if t else self.start)
        if not self.moving:
            return dict(self.end)
        between = torch._foreach_mul([self.start[name] for name in self.moving], 1 - t)
        torch._foreach_add_(between, torch._foreach_mul([self.end[name] for name in self.moving], t))
        return self.end | dict(zip(self.moving, between, strict=True))

    def laid_out(self, plan: ExecutionPlan) -> StraightPath:
        """The same path, its weights of four dimensions in memory as the plan says."""
        start, end = ({k: plan.lay_out(v) if v.ndim == 4 else v for k, v in w.items()} for w in (self.start, self.end))
        return StraightPath(start, end, self.moving)

    def difference(self, name: str) -> torch.Tensor:
        """theta - theta_b of one parameter, from baseline to target."""
        return self.end[name] - self.start[name]


def _flags(tensors: Sequence[torch.Tensor]) -> list[bool]:
    """Truths of 0-d tensors, for which a device is waited for once."""
    flags: list[bool] = to_cpu(torch.stack(list(tensors)))[0].tolist() if tensors else []
    return flags


def inner_product(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum over all elements of the products, 0-d float64 on the device."""
    products = [(a.double() * b.double()).sum() for a, b in zip(one, other, strict=True)]
    return torch.stack(products).sum() if products else torch.zeros((), dtype=torch.float64)


def _compare(
    start_weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], baseline: str, target: str
) -> None:
    missing = [name for name in wanted if name not in start_weights]
    foreign = [name for name in start_weights if name not in wanted]
    shapes = [
        f"{name} is {tuple(start_weights[name].shape)} in the baseline and {tuple(value.shape)} in the target"
        for name, value in wanted.items()
        if name in start_weights and start_weights[name].shape != value.shape
    ]
    complaints = [f"the baseline lacks {_some(missing)}"] if missing else []
    complaints += [f"the target lacks {_some(foreign)}"] if foreign else []
    complaints += [_some(shapes, 2, "; ")] if shapes else []
    if complaints:
        raise NetworkError(
            f"baseline ({baseline}) and target ({target}) are not two states of one architecture: "
            + ". ".join(complaints)
            + ". FAIG needs a target fine-tuned from the baseline"
        )


def _some(items: Sequence[str], how_many: int = 3, between: str = ", ") -> str:
    more = f" and {len(items) - how_many} more" if len(items) > how_many else ""
    return between.join(items[:how_many]) + more


def squared_error(output: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """FAIG's loss: the sum of squared differences (arXiv 2108.01070), in float32."""
    if output.shape != gt.shape:
        raise ImageError(
            f"the ground truth is {tuple(gt.shape[-3:])} and the output {tuple(output.shape[-3:])} (channels, height, "
            "width): they must be equal, so give degraded inputs of gt's size divided by the network's scale"
        )
    return (output.float() - gt).square().sum()


class WeightGradients:
    """d loss / d parameters anywhere on a weight path, for one image at a time.

    Only parameters that move have a gradient computed. One image, because FAIG takes absolute values per image, after
    the path sum; a batch under torch.func.vmap took 1.1 times as long an image on a CPU (measured on MSRResNet x2).

    Args:
        loss: of an output and the ground truth (1,C,H,W) to a scalar tensor.
        plan: the layout in memory of inputs and weights; its batch is of no account. Channels last, where calibration
            chooses it, took 0.88 times as long (MSRResNet x2, LR 40x40, one thread).

    Attributes:
        count: gradients computed.
        broken: of these, how many had entries that are not finite.
    """

    def __init__(
        self,
        network: Network,
        path: StraightPath,
        *,
        precision: str = "float32",
        plan: ExecutionPlan | None = None,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.network, self.precision, self._loss_of = network, precision, loss or squared_error
        self.plan = plan or ExecutionPlan()
        self.path = path.laid_out(self.plan) if self.plan.channels_last else path
        self.count = self.broken = 0
        self._view: Network | None = None
        self._weights: dict[str, torch.Tensor] = {}

    def move_to(self, t: float) -> None:
        """Stand at t of the path; several images and degradations share the weights there."""
        weights = {}
        moving = frozenset(self.path.moving)
        for name, value in self.path.at(t).items():
            weights[name] = value.detach().requires_grad_() if name in moving else value
        self._weights = weights
        self._view = at_weights(self.network, weights)

    def __call__(self, lr: torch.Tensor, gt: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The loss (0-d) of (1,C,h,w) against (1,C,H,W), and its gradients in the order of `path.moving`.

        All stay on the network's device, which is not waited for.
        """
        view = self._standing()
        leaves = [self._weights[name] for name in self.path.moving]

        def compute() -> tuple[torch.Tensor, list[torch.Tensor]]:
            with torch.enable_grad():
                loss = self._loss(view, lr, gt)
                gradients = view.gradients(loss, leaves)
                return loss.detach(), [
                    torch.zeros_like(leaf) if gradient is None else gradient
                    for leaf, gradient in zip(leaves, gradients, strict=True)
                ]

        loss, gradients = view.differentiate(compute)
        self.count += 1
        return loss, list(gradients)

    def loss(self, lr: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        """The loss alone, 0-d."""
        with torch.no_grad():
            return self._loss(self._standing(), lr, gt)

    def _standing(self) -> Network:
        if self._view is None:
            self.move_to(1.0)
        assert self._view is not None
        return self._view

    def _loss(self, view: Network, lr: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        device = self.network.device
        x, gt = self.plan.lay_out(to_device(lr, device)), to_device(gt, device)
        with autocast(device, self.precision):
            output = view(x)
        return self._loss_of(output, gt)
