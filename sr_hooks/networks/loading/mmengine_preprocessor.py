"""Pixel range, mean, std, channel order and padding of a data preprocessor of mmengine, as facts for Network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sr_hooks.errors import NetworkError

__all__ = ["facts_of", "order_of", "transforms_of", "white_of"]

_DATASETS = ("train_dataloader", "val_dataloader", "test_dataloader")  # what it learns from comes first
_ORDERS = ("rgb", "bgr")


def facts_of(
    preprocessor: Any, transforms: Sequence[Any] = (), stated: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """`input_range`, `mean`, `std`, `bgr` and `multiple`, as far as they are known.

    Args:
        preprocessor: a BaseDataPreprocessor or a subclass of it, ImgDataPreprocessor or mmagic's DataPreprocessor; None
            for none.
        transforms: of the pipeline that loads the images, live or as a config describes them.
        stated: facts that are given; they replace those that are read.

    Raises:
        NetworkError: the pipeline itself normalises, in which case mean and std must be stated.
    """
    kinds = [_kind(t) for t in transforms]
    if "Normalize" in kinds and "mean" not in (stated or {}):
        raise NetworkError(
            "the pipeline itself normalises the images (Normalize), which is not followed: state mean, std and bgr as "
            "facts, in the network's channel order and in units of the image ([0, 1])"
        )
    white = white_of(transforms)
    order = order_of(transforms)
    facts: dict[str, Any] = {}
    if getattr(preprocessor, "_enable_normalize", False):
        mean, std = (_values(buffer, white or 255.0) for buffer in (preprocessor.mean, preprocessor.std))
        if not any(mean) and len(set(std)) == 1:
            facts["input_range"] = 1 / std[0]
        else:
            facts.update(input_range=1.0, mean=mean, std=std)
    elif white is not None:
        facts["input_range"] = white
    channel_order = getattr(preprocessor, "output_channel_order", None)
    if getattr(preprocessor, "_channel_conversion", False) and order is not None:
        channel_order = _ORDERS[1 - _ORDERS.index(order)]
    facts["bgr"] = str(channel_order or order).lower() == "bgr"
    if int(getattr(preprocessor, "pad_size_divisor", 1) or 1) > 1:
        facts["multiple"] = int(preprocessor.pad_size_divisor)
    return {**facts, **(stated or {})}


def transforms_of(dataset: Any) -> list[Any]:
    """The transforms of a dataset, through what wraps it, or of the first dataset that a config describes."""
    if isinstance(dataset, Mapping):
        for key in _DATASETS:
            for described in _described(dataset.get(key)):
                return described
        return []
    while dataset is not None:
        pipeline = getattr(dataset, "pipeline", None)
        transforms = getattr(pipeline, "transforms", pipeline)
        if isinstance(transforms, (list, tuple)):
            return list(transforms)
        inside = getattr(dataset, "datasets", None)
        dataset = inside[0] if inside else getattr(dataset, "dataset", None)
    return []


def order_of(transforms: Sequence[Any], key: str = "img") -> str | None:
    """ "rgb" or "bgr", as images are loaded: OpenCV's order where it is not said; None where nothing loads."""
    loading = [t for t in transforms if _kind(t).startswith("LoadImage")]
    first = next((t for t in loading if _get(t, "key") == key), loading[0] if loading else None)
    return None if first is None else str(_get(first, "channel_order") or "bgr").lower()


def white_of(transforms: Sequence[Any]) -> float | None:
    """The value of white in loaded images; None where nothing loads."""
    if any(_kind(t) == "RescaleToZeroOne" for t in transforms):
        return 1.0
    return None if order_of(transforms) is None else 255.0


def _described(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("pipeline"), (list, tuple)):
            yield list(value["pipeline"])
        else:
            for inner in value.values():
                yield from _described(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _described(inner)


def _kind(transform: Any) -> str:
    if isinstance(transform, Mapping):
        kind = transform.get("type", "")
        return (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
    return type(transform).__name__


def _get(transform: Any, key: str) -> Any:
    return transform.get(key) if isinstance(transform, Mapping) else getattr(transform, key, None)


def _values(buffer: Any, white: float) -> list[float]:
    return [float(v) / white for v in buffer.flatten().tolist()]
