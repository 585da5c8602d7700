"""t-SNE of features over several seeds, for the picture and for the index that papers print."""

from __future__ import annotations

import numpy as np

from sr_hooks.errors import OptionError

__all__ = ["tsne"]


def tsne(scores: np.ndarray, seeds: int, *, seed: int = 0, perplexity: float = 30.0) -> np.ndarray:
    """(n,k) to (seeds,n,2): one embedding with a random start for each seed from `seed` on.

    All other settings are scikit-learn's defaults. scikit-learn's PCA start would hide how much the picture depends on
    chance. Perplexity is lowered if there are too few points.

    Not for: distances between clusters or sizes of clusters, which t-SNE does not preserve; nor for an index that is
    compared between runs (the same features gave 21 to 54 over five seeds).

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
