"""Run any registered analysis by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

from sr_hooks.analyses.base import execute, find_analysis, options_of
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.faig_verify.result import VerifyResult
from sr_hooks.analyses.lam.options import OneWindow
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.results.result import Result

__all__ = ["run"]


@overload
def run(name: Literal["lam"], network: Any, images: Any = None, *, window: OneWindow, **options: Any) -> LamResult: ...
@overload
def run(
    name: Literal["lam"], network: Any, images: Any = None, *, window: Sequence[OneWindow], **options: Any
) -> list[LamResult]: ...
@overload
def run(name: Literal["ddr"], network: Any, images: Any = None, **options: Any) -> DdrResult: ...
@overload
def run(name: Literal["faig"], network: Any, images: Any = None, **options: Any) -> FaigResult: ...
@overload
def run(name: Literal["faig-verify"], network: Any, images: Any = None, **options: Any) -> VerifyResult: ...
@overload
def run(name: str, network: Any, images: Any = None, **options: Any) -> Result | list[Result]: ...
def run(name: str, network: Any, images: Any = None, **options: Any) -> Any:
    """Run any registered analysis by its name, also the analysis of a plugin.

    Args:
        name: of the analysis; `sr-hooks plugins` lists the names.
        network: a torch module or a Network.
        images: what the analysis takes: inputs, or ground truth, as (N,C,h,w) float in [0, 1], or files.
        options: the options of the analysis.

    Returns:
        The result of the analysis, or a list of results.

    Raises:
        SRHooksError: no analysis has that name, or an option or image is wrong.

    Examples:
        >>> import torch, sr_hooks
        >>> network = torch.nn.Conv2d(3, 3, 3, padding=1)
        >>> result = sr_hooks.run("lam", network, torch.rand(1, 3, 12, 12), window=(4, 4, 4))
        >>> result.analysis, result.map.shape
        ('lam', (12, 12))
    """
    kind = find_analysis(name)
    return execute(kind, network, images, options_of(kind, options, where=name))
