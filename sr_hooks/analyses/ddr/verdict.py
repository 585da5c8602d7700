"""The verdict of DDR in words: whether features separate by degradation, and what else might explain that."""

from __future__ import annotations

from collections.abc import Sequence

from sr_hooks.analyses.ddr.result import LayerSeparability

__all__ = ["judge"]

LEVEL = 0.01
_FEW = 20
_TOO_FEW = 8  # patches a class; below, no difference shows unless it is gross
_TOO_ROUGH = 0.25  # change of CHI by sketches
_WEAK = 0.1  # of the variance; below, content outweighs degradation ten to one


def judge(
    layers: Sequence[LayerSeparability], *, counts: Sequence[int], wanted: int, permutations: int, apart: Sequence[str]
) -> str:
    """The sentence: "features (do not) separate ...", "cannot tell", "undefined", "undecided" or "not tested".

    `apart` says of each folder what the network takes it for.
    """
    if permutations and 1 / (permutations + 1) >= LEVEL:
        few = f"undecided: {permutations} permutations cannot give a p below {LEVEL}; take 199 or more"
        return few + _tail(_of_sketches(layers))
    notes = list(apart)
    if min(counts) < wanted:
        notes.append(f"{min(counts)} patches a class where {wanted} were asked, the images hold no more")
    elif min(counts) < _FEW:
        notes.append(f"only {min(counts)} patches a class, so the interval is rough")
    if apart:
        notes.append("a folder shows other content than the rest, and content separates as degradation does")
    notes += _of_sketches(layers)
    answer = _one(layers[0]) if len(layers) == 1 else _many(layers)
    doubts = []
    if min(counts) < _TOO_FEW and not any(layer.separates for layer in layers):
        doubts.append(f"{min(counts)} patches a class are too few to find a difference")
    if any(layer.sketch and layer.sketch.get("error", 0.0) > _TOO_ROUGH for layer in layers):
        doubts.append("the sketch is too small")
    if doubts and answer.startswith("features "):
        answer = f"cannot tell: {' and '.join(doubts)}; {answer}"
    return answer + _tail(notes)


def _tail(notes: Sequence[str]) -> str:
    return "".join(f"; {note}" for note in notes) + "."


def _of_sketches(layers: Sequence[LayerSeparability]) -> list[str]:
    """A sentence on the layer whose index the sketches change most."""
    checks = [layer.sketch for layer in layers if layer.sketch is not None]
    if not checks:
        return []
    worst = max(checks, key=lambda check: check.get("error", 0.0))
    dimensions = next(layer.dimensions for layer in layers if layer.sketch is worst)
    if dimensions <= worst["size"]:
        return [f"features have only {dimensions} values and are held whole, without a sketch"]
    if "error" not in worst:
        return [f"features are sketched to {worst['size']} numbers"]
    return [
        f"features are sketched to {worst['size']} numbers: on {worst['samples']} samples that changes CHI from "
        f"{worst['exact_chi']:.4g} to {worst['chi']:.4g} ({worst['error']:.1%})"
        + (" at most" if len(checks) > 1 else "")
    ]


def _one(layer: LayerSeparability) -> str:
    if layer.chi is None:
        return f"undefined: {layer.layer} has no CHI, {layer.undefined}"
    interval = f", 95 % interval {layer.low:.3g} to {layer.high:.3g}" if layer.low is not None else ""
    facts = f"CHI {layer.chi:.4g}{interval}; between degradations lie {layer.share:.1%} of the projected variance"
    if layer.p is None:
        return f"not tested: {facts}, no permutation null was asked for"
    words = f"p < {LEVEL}" if layer.separates else f"p = {layer.p:.2g}"
    if layer.separates:
        weakly = " weakly" if layer.share is not None and layer.share < _WEAK else ""
        return f"features separate{weakly} by degradation at {layer.layer}, {words} ({facts})"
    return f"features do not separate by degradation at {layer.layer}, {words} ({facts})"


def _many(layers: Sequence[LayerSeparability]) -> str:
    separated = [layer for layer in layers if layer.separates]
    defined = [layer for layer in layers if layer.chi is not None]
    if not defined:
        return f"undefined: none of {len(layers)} layers has a CHI, {layers[0].undefined}"
    if all(layer.p is None for layer in defined):
        return f"not tested: {len(layers)} layers, no permutation null was asked for"
    best = max(defined, key=lambda layer: layer.chi or 0.0)
    undefined = len(layers) - len(defined)
    if not separated:
        more = f", CHI undefined at {undefined}" if undefined else ""
        return (
            f"features do not separate by degradation at any of {len(layers)} layers (no p < {LEVEL}{more}; largest "
            f"CHI {best.chi:.4g} at {best.layer}, {best.share:.1%} of the projected variance)"
        )
    more = f", CHI undefined at {undefined}" if undefined else ""
    return (
        f"features separate by degradation at {len(separated)} of {len(layers)} layers, each with p < {LEVEL} by itself"
        f"{more}; most at {best.layer}, CHI {best.chi:.4g}, {best.share:.1%} of the projected variance"
    )
