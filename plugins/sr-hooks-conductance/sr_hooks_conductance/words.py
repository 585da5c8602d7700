"""The verdict of conductance."""

from __future__ import annotations

from typing import Any

__all__ = ["verdict_of"]

_FEW = 6  # units: of five, no order is beyond chance at 1 % two-sided
_COMPLETE = 0.01
_SAME = 1e-4  # root mean square difference of image and baseline
_VISIBLE = 1 / 255  # root mean square: one grey level of an 8-bit image
_AUDIBLE = 0.1  # dB


def verdict_of(scalars: dict[str, Any]) -> str:
    """Which units made the window, if the integral is complete, the proof has something to rank, and both agree."""
    top = ", ".join(scalars["finetune"])
    reason = _no_answer(scalars)
    agreed = (
        f"Spearman with {_proof(scalars)} {scalars['agreement']:.2f} "
        f"[{scalars['agreement_low']:.2f}, {scalars['agreement_high']:.2f}] over {len(scalars['layers'])} layers; "
        + ", ".join(f"{name} {value:.2f}" for name, value in scalars["controls"].items())
    )
    if reason:
        return f"cannot tell: {reason}. {agreed}."
    text = f"{top} made most of it: {agreed}"
    if scalars["excess_low"] <= 0:
        text += f"; it cannot be told whether conductance ranks better than {scalars['best_control']}"
    return text + "."


def _no_answer(scalars: dict[str, Any]) -> str | None:
    if scalars["path_length"] < _SAME:
        return "the image is its own baseline: the path changes nothing that could be explained"
    if scalars["completeness_gap"] > _COMPLETE:
        return (
            f"the integral is not complete: its sum misses the objective's change by {scalars['completeness_gap']:.1%} "
            f"with {scalars['nodes']} nodes"
        )
    if len(scalars["layers"]) < _FEW:
        return f"{len(scalars['layers'])} layers are too few to compare ranks; {_FEW} are needed"
    if scalars["largest_change"] < _VISIBLE:
        return (
            "no layer matters by itself: without any one of them the output changes by at most "
            f"{255 * scalars['largest_change']:.2f} of 255 grey levels (root mean square)"
        )
    if scalars["largest_loss"] is not None and scalars["largest_loss"] < _AUDIBLE:
        return f"no layer matters by itself: without any one of them at most {scalars['largest_loss']:.2f} dB are lost"
    if scalars["agreement_low"] <= 0:
        return "the scores do not rank the layers as the proof does, or there are too few layers to say so"
    return None


def _proof(scalars: dict[str, Any]) -> str:
    return "the change without each layer" if scalars["largest_loss"] is None else "the dB lost without each layer"
