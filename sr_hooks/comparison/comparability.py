"""Whether two results can be compared: what is refused, and which differences are only reported."""

from __future__ import annotations

from typing import Any

from sr_hooks.errors import OptionError
from sr_hooks.results.result import Result

__all__ = ["refuse_incomparable", "reservations"]

_NETWORK = (
    ("input_range", "input range"),
    ("mean", "mean of the input"),
    ("std", "standard deviation of the input"),
    ("bgr", "channel order"),
    ("class", "architecture"),
)
_OPTIONS = {
    "lam": ("objective", "path", "compat", "precision"),
    "ddr": ("degradations", "patch", "components", "seed"),
    "faig": ("degradations", "crop", "clip", "compat", "seed"),
}
_INPUTS = {"lam": ("input_sha256",), "ddr": ("inputs_sha256",), "faig": ("gt_sha256",)}


def refuse_incomparable(a: Result, b: Result) -> None:
    """Raise an error if two results cannot be compared.

    Raises:
        OptionError: results of two analyses, LAMs of two canvases, DDRs of two designs, FAIGs of two architectures.
    """
    if a.analysis != b.analysis:
        raise OptionError(f"results of {a.analysis} and {b.analysis} cannot be compared: give two of one analysis")
    if a.analysis not in _OPTIONS:
        raise OptionError(f"compare knows results of {', '.join(_OPTIONS)}, and these are of {a.analysis}")
    if a.analysis == "lam":
        if any(result.arrays["lr"].ndim != 3 for result in (a, b)):
            raise OptionError("compare knows maps of single images, and one of these is of a clip")
        canvases = [tuple(result.scalars["canvas"]["input"]) for result in (a, b)]
        if canvases[0] != canvases[1]:
            sizes = " and ".join(f"{h}x{w}" for h, w in canvases)
            raise OptionError(
                f"the maps are of inputs of {sizes} pixels: the diffusion index depends on the canvas, and maps of "
                "unlike sizes have no difference; compute both on equal crops"
            )
    if a.analysis == "ddr":
        for what, value in (("degradations", "classes"), ("numbers of patches", "labels")):
            pair = [tuple(r.scalars["classes"]) if value == "classes" else len(r.arrays["labels"]) for r in (a, b)]
            if pair[0] != pair[1]:
                raise OptionError(
                    f"the DDRs are of unlike {what} ({pair[0]} and {pair[1]}): the index depends on both; compute them "
                    "on the same patches"
                )
    if a.analysis == "faig" and a.scalars["layers"] != b.scalars["layers"]:
        raise OptionError("the FAIGs are of networks with unlike filters: their rankings have nothing in common")


def reservations(a: Result, b: Result) -> list[str]:
    """Sentences about what differs between two results besides the weights; empty if nothing does."""
    sentences = []
    networks = [result.provenance.get("network", {}) for result in (a, b)]
    for key, name in _NETWORK:
        if networks[0].get(key) != networks[1].get(key):
            sentences.append(f"{name}: {networks[0].get(key)} and {networks[1].get(key)}")
    averaged = ["ema" in str(network.get("weights", "")) for network in networks]
    if averaged[0] != averaged[1]:
        sentences.append("weights: moving average (EMA) against raw, which differ without any training between them")
    options = [result.provenance.get("options", {}) for result in (a, b)]
    for key in _OPTIONS[a.analysis]:
        if options[0].get(key) != options[1].get(key):
            sentences.append(f"{key}: {options[0].get(key)} and {options[1].get(key)}")
    for key in _INPUTS[a.analysis]:
        if a.provenance.get(key) != b.provenance.get(key):
            sentences.append("the images are not the same")
            break
    if a.analysis == "lam":
        windows = [tuple(result.scalars["window"]) for result in (a, b)]
        if windows[0] != windows[1]:
            sentences.append(f"windows: {windows[0]} and {windows[1]}, so the maps explain unlike things")
        elif a.provenance.get("region_sha256") != b.provenance.get("region_sha256"):
            sentences.append(f"masks within the window {windows[0]}, so the maps explain unlike things")
    for which, result in (("first", a), ("second", b)):
        word = _unsound(result)
        if word:
            sentences.append(f"the {which} is {word} by its own verdict")
    return sentences


def _unsound(result: Result) -> Any:
    """The word with which a LAM's verdict says that the map is not reliable; None if it is."""
    words = ("degenerate", "out of range", "not converged", "imprecise")
    return next((word for word in words if result.verdict.startswith(word)), None)
