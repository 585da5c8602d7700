"""t-SNE of projected features: for the picture, and for the index that papers print, with its spread over seeds."""

from __future__ import annotations

import numpy as np

from sr_hooks.errors import OptionError

__all__ = ["tsne"]


def tsne(scores: np.ndarray, seeds: int, *, seed: int = 0, perplexity: float = 30.0) -> np.ndarray:
    """(n,k) to (seeds,n,2): one embedding for each of so many seeds, from seed on, with random starts.

    scikit-learn's defaults but for the start: its PCA start hides how much the picture owes to chance. Perplexity
    is lowered where there are too few points for it.

    Not for: distances between clusters or their sizes, which t-SNE does not keep, nor for an index to be compared
    between runs (the same features gave 21 to 54 over five seeds).

    Raises:
        OptionError: scikit-learn is missing.
    """
    if seeds < 1 or len(scores) < 4:
        return np.zeros((0, len(scores), 2))
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise OptionError(
            "t-SNE needs scikit-learn: pip install 'sr_hooks[ddr]', or go without it with tsne=0"
        ) from None
    near = min(perplexity, (len(scores) - 1) / 3)
    runs = [TSNE(perplexity=near, init="random", random_state=seed + i).fit_transform(scores) for i in range(seeds)]
    return np.stack(runs).astype(np.float64)
