"""What each number of a result means, in one or two sentences: the text of tooltips and of the report's last page."""

from __future__ import annotations

from sr_hooks.analyses.base import find_analysis

__all__ = ["NUMBERS", "explanation"]

NUMBERS = {
    # of images
    "psnr_y": "Peak signal-to-noise ratio of the output against the ground truth, in dB, on luma (Y) of 8-bit pixels. "
    "Higher is closer to the ground truth. A border as wide as the scale is left out.",
    "ssim_y": "Structural similarity of the output and the ground truth, at most 1, on luma (Y) of 8-bit pixels. "
    "Higher is closer to the ground truth.",
    "psnr": "Peak signal-to-noise ratio of the output against the ground truth, in dB, over all bands, each of 8 bits. "
    "Higher is closer to the ground truth. A border as wide as the scale is left out.",
    "ssim": "Structural similarity of the output and the ground truth, at most 1, the mean over all bands. Higher is "
    "closer to the ground truth.",
    "window_psnr": "Peak signal-to-noise ratio inside the window alone, in dB, over all channels. Higher is closer to "
    "the ground truth.",
    # LAM
    "diffusion_index": "Diffusion index, DI = 100 (1 - Gini coefficient of the map), from 0 to 100. A high DI means "
    "that the window depends on many input pixels. That by itself is no merit: read it beside PSNR.",
    "effective_pixels": "How many input pixels the window effectively depends on: (1 - Gini coefficient) times the "
    "number of pixels of the map. Unlike DI, it may be compared between inputs of different size.",
    "gini": "Gini coefficient of the map, from 0 (all input pixels matter equally) to 1 (one pixel alone matters).",
    "frame": "The frame of the clip, counted from 0, that the window lies in.",
    "temporal_diffusion": "How many frames of the clip the window effectively depends on, from 1 to all of them.",
    "completeness_gap": "The sum of the attribution must equal the change that it explains. This is their difference, "
    "as a share of that change: 0 is exact, above 0.05 the result is not converged.",
    "error": "Estimated relative error (L2) of the attribution that a finite number of gradients causes. 0.05 means "
    "5 %.",
    "precision_deviation": "Relative difference (L2) of the map in the reduced precision from the map in float32, "
    "estimated on a few gradients.",
    "steps": "How many gradients were taken along the path from the baseline; of FAIG, for each image and degradation.",
    "nonfinite": "Entries of gradients that were infinite or not a number. They count as 0.",
    # DDR
    "layer": "The layer whose features are measured: the last of the layers that were asked for.",
    "chi": "Calinski-Harabasz index: the scatter between degradations divided by the scatter within them. Higher means "
    "that features cluster more by degradation. It grows with the number of patches: compare equal numbers.",
    "interval": "Where 95 % of the indices of half-samples of the patches lie.",
    "p": "p-value of a permutation test: how often shuffled labels give an index at least as high. Below 0.01 the "
    "features separate by degradation.",
    "tsne_chi": "The index in the plane of t-SNE, as papers give it. It changes with the seed of t-SNE: use it for "
    "comparison with papers only.",
    "layers": "How many layers were measured.",
    "most_separated": "The layer with the highest Calinski-Harabasz index.",
    "identified": "Share of patches whose kind of degradation a linear probe names correctly from the features. "
    "Guessing gives 1 divided by the number of kinds.",
    # FAIG
    "filters": "How many filters of the network have a score: one for each pair of an input and an output channel of a "
    "layer.",
    "images": "How many images the scores are a mean of.",
    "gradients": "How many gradients with respect to the weights were taken in all.",
    "top_overlap": "How far the ranking has settled: share of the top 1 % of filters that stay when the last gradients "
    "are added. Near 1 is settled.",
    "split_half_overlap": "Share of the top 1 % of filters that two halves of the images agree on. Low means that the "
    "ranking needs more images.",
    # checks
    "card": "How many of the network's maps pass all checks of faithfulness.",
}
"""The numbers of our own analyses and of every image; the name is that of `Result.headline`."""


def explanation(number: str, analysis: str | None = None) -> str:
    """What a number means; "" for a number that nobody has explained.

    Args:
        number: its name in `Result.headline`. Of "chi/body.15" the part before the stroke is looked up too.
        analysis: the name of the analysis that gives the number. The mapping `explains` of its class goes first, so
            that a plugin explains its own numbers.
    """
    own = find_analysis(analysis).explains if analysis is not None else {}
    base = number.partition("/")[0]
    texts = [own.get(number), own.get(base), NUMBERS.get(number), NUMBERS.get(base)]
    return next((text for text in texts if text), "")
