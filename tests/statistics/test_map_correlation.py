"""Two maps with only the distance to the window in common, and two with the pixels."""

from __future__ import annotations

import numpy as np

from sr_hooks.images.windows import Window
from sr_hooks.statistics import distance_to_window, local_correlation, rank_correlation


def test_distance_explains_nothing_within_a_ring():
    rng = np.random.default_rng(0)
    distance = distance_to_window(40, 40, Window(36, 36, 8, 8), 2)
    assert distance.min() == 0 and distance[20, 20] == 0 and distance[0, 20] == 17.5
    first, second = (np.exp(-distance / 4) * rng.uniform(0.5, 1, distance.shape) for _ in range(2))
    assert rank_correlation(first, second) > 0.9
    assert abs(local_correlation(first, second, distance)) < 0.1
    assert local_correlation(first, first**2, distance) > 0.999
