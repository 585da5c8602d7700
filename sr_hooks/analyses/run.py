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
    """Run any registered analysis by name: `sr_hooks.run("lam", network, lr, window=(96, 120, 16))`.

    Raises:
        SRHooksError: there is no analysis of that name, or an option or image is wrong.
    """
    kind = find_analysis(name)
    return execute(kind, network, images, options_of(kind, options, where=name))
