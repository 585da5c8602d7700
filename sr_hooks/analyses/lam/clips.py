"""Numbers and words for a LAM of a clip: how the attribution is spread over frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sr_hooks.images.clips import stands_still
from sr_hooks.networks.network import Network
from sr_hooks.statistics import measures

__all__ = ["clip_scalars", "clip_words"]

_CUT = 0.05  # a share of the attribution at a clip's end from which more frames may have been used, had there been any


def clip_scalars(network: Network, clip: torch.Tensor, values: np.ndarray) -> dict[str, Any]:
    """Frame, shares and diffusion over time of a map `values` (T,h,w) of a clip (1,T,C,h,w)."""
    positions = network.returned_frames(len(values))
    index = network.frame if isinstance(network.frame, int) else len(positions) // 2
    at = positions[index]
    shares = measures.frame_shares(values)
    distance = np.abs(np.arange(len(values)) - at)
    return {
        "frame": int(at) if len(positions) == 1 else index,
        "frame_at": at,
        "frame_shares": shares.tolist(),
        "temporal_diffusion": measures.effective_number(shares),
        "temporal_distance": float((shares * distance).sum()),
        "still": stands_still(clip),
        "whole_time": len(positions) == 1,
    }


def clip_words(scalars: dict[str, Any]) -> str:
    """A sentence for the verdict; nothing for a map that is zero everywhere."""
    shares, at, still = scalars["frame_shares"], scalars["frame_at"], scalars["still"]
    if not sum(shares):
        return ""
    own = f"its own frame holds {shares[int(at)]:.1%} of the attribution and " if at == int(at) else ""
    sentence = (
        f" Over time: the window is in frame {scalars['frame']}; {own}"
        f"{scalars['temporal_diffusion']:.2f} of {len(shares)} frames are used effectively"
    )
    if still:
        return sentence + "; the clip stands still, so what motion does is not seen."
    ends = [(0, "first"), (len(shares) - 1, "last")]
    cut = [f"{name} {shares[t]:.0%}" for t, name in ends if abs(t - at) >= 1 and shares[t] > _CUT]
    if cut and not scalars["whole_time"]:
        return (
            sentence + f"; the clip's ends still hold some ({', '.join(cut)}), so a longer clip may show a wider use."
        )
    return sentence + "."
