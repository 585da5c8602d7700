"""What an analysis is, and the one way in which every analysis is run."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch

import sr_hooks
from sr_hooks import plugins
from sr_hooks.errors import OptionError, PluginError, nearest
from sr_hooks.network import Network
from sr_hooks.options import as_plain, from_mapping
from sr_hooks.results import Result

__all__ = ["Analysis", "execute", "find_analysis", "run", "sha256_of"]

Options = TypeVar("Options")


class Analysis(Generic[Options]):
    """Base of all analyses, ours and plugins'. Subclass it, and return the class from `register_analyses`.

    Attributes:
        name: of the command, the option-file block and the result folder.
        options_type: a frozen dataclass; its fields are flags and keys, documented with `sr_hooks.options.option`.
        result_type: Result or a subclass.
        takes: what the images are, for help texts and the command line: "lr" (inputs) or "hr" (ground truth).
    """

    name: ClassVar[str]
    options_type: ClassVar[type]
    result_type: ClassVar[type[Result]] = Result
    takes: ClassVar[str] = "lr"

    def run(self, network: Network, images: Any, options: Options) -> Result | Sequence[Result]:
        """The answer, or several. The network is in evaluation mode, its parameters want no gradient.

        Each result's `provenance` need hold only what the analysis itself adds.
        """
        raise PluginError(f"the analysis {type(self).__name__} defines no run()")

    @classmethod
    def figure(cls, result: Result) -> Any:
        """A matplotlib Figure of the result, or None."""
        return None


def find_analysis(name: str) -> type[Analysis[Any]]:
    """The registered analysis of that name.

    Raises:
        OptionError: there is none; with the nearest names.
    """
    known = plugins.contributions("register_analyses")
    if name not in known:
        raise OptionError(f"no analysis {name!r}; {nearest(name, known)}")
    return known[name]  # type: ignore[return-value]


def run(name: str, network: Any, images: Any = None, **options: Any) -> Any:
    """Run any registered analysis by name: `sr_hooks.run("lam", network, lr, window=(96, 120, 16))`."""
    kind = find_analysis(name)
    return execute(kind, network, images, from_mapping(kind.options_type, options, where=name))


def execute(kind: type[Analysis[Any]], network: Any, images: Any, options: Any) -> Any:
    """Run an analysis on a network that is prepared for it and put back after, and complete the provenance."""
    network = Network.of(network)
    found = plugins.registry()
    found.call("before_analysis", analysis=kind.name, network=network, options=options)
    start = time.perf_counter()
    with network.prepared(), torch.inference_mode(False):
        answer = kind().run(network, images, options)
    seconds = time.perf_counter() - start
    common = _provenance(kind, network, options)
    for result in answer if isinstance(answer, list) else [answer]:
        if not isinstance(result, Result):
            raise PluginError(f"the analysis {kind.name} returned a {type(result).__name__}, not a Result")
        result.provenance = {**common, "seconds": round(seconds, 4), **result.provenance}
        found.call("after_analysis", result=result)
    return answer


def _provenance(kind: type[Analysis[Any]], network: Network, options: Any) -> dict[str, Any]:
    return {
        "analysis": kind.name,
        "options": as_plain(options),
        "versions": {
            "sr_hooks": sr_hooks.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "network": network.describe(),
        "device": str(network.device),
        "dtype": str(network.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def sha256_of(image: torch.Tensor) -> str:
    """SHA-256 of shape and float32 bytes."""
    data = image.detach().float().cpu().contiguous().numpy()
    return hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()
