"""Where in a checkpoint the weights are: under which key, and which of several are taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sr_hooks.errors import CheckpointError

__all__ = ["COUNTERS", "OF_AVERAGES", "Candidate", "choose_state", "is_average", "is_other"]

_KEYS = (
    *(
        "params",
        "state_dict",
        "model_state_dict",
        "model",
        "model_state",
        "net_g",
        "netG",
        "generator",
        "gen",
        "g",
        "G",
    ),
    *("net_state_dict", "generator_state_dict", "network", "net", "params_dict", "weights", "weight", "module", "sd"),
)
_DEPTH = 4

COUNTERS = ("total_ops", "total_params")
"""Of thop, in every part of a network."""
OF_AVERAGES = ("n_averaged", "initted", "step", "steps", "num_updates", "decay")
"""Beside the network inside an average."""

_AVERAGE = re.compile(r"(^|[_.\-])(ema|avg|averaged?|swa|shadow)\d*([_.\-]|$)|^ema", re.IGNORECASE)
_OTHER = re.compile(
    r"^(net_?d(_|$)|net_?le(_|$)|disc|discriminator|critic|dis|d$|d_|loss|criterion|cri_|perceptual|lpips|vgg|gan_loss|"
    r"pixel_loss|optim|opt_|opt$|optimizer|sched|lr_|scaler|amp$|grad_scaler|rng|callbacks|loops|meta$|message_hub|"
    r"metrics?|teacher|step_counter|data_preprocessor)",
    re.IGNORECASE,
)
_SETTINGS = ("lora_alpha", "r", "lora_r", "use_rslora", "use_dora", "fan_in_fan_out", "alpha_pattern", "rank_pattern")


@dataclass(frozen=True)
class Candidate:
    """Weights inside a checkpoint.

    Attributes:
        keys: the keys that lead to them; empty for the whole file.
        state: name to tensor.
        beside: dotted keys of other weights of the file that look like weights of the network too.
        twins: those of them whose names are the same.
        remarks: sentences about the choice.
        settings: numbers of LoRA that stand beside the weights.
    """

    keys: tuple[str, ...]
    state: dict[str, torch.Tensor]
    beside: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None

    @property
    def key(self) -> str:
        """The keys as one dotted text."""
        return ".".join(self.keys)


def is_average(name: str) -> bool:
    """Whether a key or a part of a name says that it holds a moving average."""
    return bool(_AVERAGE.search(name))


def is_other(name: str) -> bool:
    """Whether a key or a part of a name is of something else: a discriminator, a loss, an optimizer."""
    return bool(_OTHER.search(name))


def choose_state(content: Any, path: Path, requested: str | None) -> Candidate:
    """The weights that were requested, or the likeliest: a moving average before others, usual keys before unusual.

    Raises:
        CheckpointError: there are none, or several of which none is likelier.
    """
    candidates = [Candidate(keys, state) for keys, state in _states(content)]
    if requested:
        chosen = next((c for c in candidates if c.key == requested), None)
        if chosen is None:
            inside = [c for c in candidates if c.keys[: len(requested.split("."))] == tuple(requested.split("."))]
            chosen = inside[0] if len(inside) == 1 else None
        if chosen is None:
            raise CheckpointError(f"{path} holds no weights under {requested!r}; {_inventory(content, candidates)}")
        return _complete(chosen, candidates, content, ())
    likely = [c for c in candidates if not any(map(is_other, c.keys))]
    if not likely:
        raise CheckpointError(
            f"{path} holds no weights under params_ema, params, state_dict or at the top; {_inventory(content, [])}"
        )
    usable = [c for c in likely if not _is_raw_of_mmengine(c, content)]
    averages = [c for c in usable if any(map(is_average, c.keys))]
    others = [c for c in usable if not any(c is average for average in averages)]
    raw = _likeliest(others)
    average = _likeliest([c for c in averages if raw is None or _is_average_of(c, raw)])
    if average is not None and raw is not None:
        return _with_buffers(average, raw, likely, content)
    chosen = average or raw
    if chosen is None:
        raise CheckpointError(
            f"{path} holds several weights, under {', '.join(c.key for c in likely[:6])}: say which by weights_key "
            f"(--weights-key, or {path.name}::{likely[0].key})"
        )
    return _complete(chosen, likely, content, _averages_without_names(content))


def _averages_without_names(content: Any) -> tuple[str, ...]:
    """A sentence where an average stands in the file as a list of tensors, as diffusers and torch_ema have it."""
    if not isinstance(content, Mapping):
        return ()
    keys = [key for key, value in content.items() if isinstance(value, Mapping) and "shadow_params" in value]
    if not keys:
        return ()
    return (f"the average under {keys[0]} is a list without names (shadow_params) and is not taken",)


def _states(content: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, torch.Tensor]]]:
    """All mappings of names to tensors, each with the keys that lead to it."""
    if isinstance(content, (list, tuple)) and len(content) <= 4 and len(keys) < _DEPTH:
        content = {str(index): item for index, item in enumerate(content) if isinstance(item, Mapping)}
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    inside = {key: value for key, value in content.items() if isinstance(value, (Mapping, list, tuple))}
    nested = list(_inside(inside, keys)) if len(keys) < _DEPTH else []
    if tensors and not (nested and _is_record(tensors)):
        yield keys, tensors
    yield from nested


def _inside(inside: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[Any]:
    for key, value in inside.items():
        yield from _states(value, (*keys, key))


def _is_record(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether tensors beside mappings are records of a run (a loss, the state of a random stream) and no weights."""
    return not any("." in name for name in tensors)


def _likeliest(candidates: Sequence[Candidate]) -> Candidate | None:
    """By the order of usual keys; the only one; None of several under unusual keys."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    ranked = sorted(candidates, key=_rank)
    return ranked[0] if _rank(ranked[0]) < len(_KEYS) and _rank(ranked[0]) != _rank(ranked[1]) else None


def _rank(candidate: Candidate) -> int:
    """The place of a candidate's key among the usual ones, without the word for the average."""
    if not candidate.keys:
        return 0
    words = [re.sub(r"(_?ema_?|_?avg_?|_?averaged?_?)", "", key, flags=re.IGNORECASE) for key in candidate.keys]
    ranks = [_KEYS.index(word) for key in (*candidate.keys, *words) for word in (key,) if word in _KEYS]
    return min(ranks, default=len(_KEYS))


def _is_average_of(average: Candidate, raw: Candidate) -> bool:
    """Whether two have the same names, but for prefixes, and for buffers that an average may lack."""
    names, all_names = _bare(average.state), _bare(raw.state)
    return names <= all_names if len(names) > 0.5 * len(all_names) else False


def _bare(state: Mapping[str, Any]) -> set[str]:
    """The names without counters, wrappers, and what all of them begin with."""
    names = set(map(_without_wrappers, state))
    names = {name for name in names if name.rpartition(".")[2] not in COUNTERS and name not in OF_AVERAGES}
    while len({name.partition(".")[0] for name in names}) == 1 and all("." in name for name in names):
        names = {name.partition(".")[2] for name in names}
    return names


def _without_wrappers(name: str) -> str:
    return re.sub(r"(^|\.)(module|_orig_mod)(?=\.)", "", name).lstrip(".")


def _with_buffers(average: Candidate, raw: Candidate, likely: Sequence[Candidate], content: Any) -> Candidate:
    """The average, with what it lacks (buffers) from the weights that were trained."""
    missing = {}
    if len(_bare(average.state)) < len(_bare(raw.state)):
        have = set(map(_without_wrappers, average.state))
        missing = {name: value for name, value in raw.state.items() if _without_wrappers(name) not in have}
    remarks = [f"the average under {average.key or 'the top'} is taken, and not {raw.key or 'the rest'}"]
    if missing:
        average = Candidate(average.keys, {**average.state, **missing})
        remarks.append(f"{_first(list(missing))} of {raw.key}, which the average lacks")
    return _complete(average, likely, content, tuple(remarks))


def _complete(chosen: Candidate, all_of: Sequence[Candidate], content: Any, remarks: tuple[str, ...]) -> Candidate:
    others = [c for c in all_of if c.keys != chosen.keys and not any(map(is_other, c.keys))]
    twins = tuple(c.key for c in others if c.keys and c.state.keys() == chosen.state.keys())
    settings: dict[str, Any] = {}
    for holder in (content, *(content.values() if isinstance(content, Mapping) else ())):
        if isinstance(holder, Mapping):
            settings.update({name: holder[name] for name in _SETTINGS if isinstance(holder.get(name), (int, float))})
    beside = tuple(c.key or "the top" for c in others)
    return Candidate(chosen.keys, chosen.state, beside, twins, remarks, settings)


def _is_raw_of_mmengine(candidate: Candidate, content: Any) -> bool:
    """mmengine's EMAHook swaps: the average is in state_dict, and what was trained in ema_state_dict."""
    beside = (
        isinstance(content, Mapping) and "state_dict" in content and ("message_hub" in content or "meta" in content)
    )
    return bool(beside) and candidate.keys == ("ema_state_dict",)


def _inventory(content: Any, candidates: Sequence[Candidate]) -> str:
    if candidates:
        return f"it holds weights under: {', '.join(c.key or 'the top' for c in candidates[:8])}"
    keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
    return f"it holds: {keys}"


def _first(items: Sequence[str], how_many: int = 3) -> str:
    more = f" and {len(items) - how_many} more" if len(items) > how_many else ""
    return ", ".join(items[:how_many]) + more
