"""What a comparison found."""

from __future__ import annotations

from typing import Any

from sr_hooks.results import Result

__all__ = ["CompareResult"]


class CompareResult(Result):
    """Two results, or two networks, side by side.

    Arrays of a comparison of LAMs: `first`, `second` (h,w) the maps; `difference` (h,w), the second's shares of its sum
    less the first's; `lr` (C,h,w). Scalars: see `sr_hooks.comparison.measured`; `names` of the two; `reservations`.
    """

    @property
    def names(self) -> tuple[str, str]:
        """Of the two, as the figure calls them."""
        return tuple(self.scalars["names"])

    @property
    def reservations(self) -> tuple[str, ...]:
        """What differs besides the weights, in words; empty where the comparison is sound."""
        return tuple(self.scalars["reservations"])

    def headline(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "diffusion_index" in self.scalars:
            before, after = self.scalars["diffusion_index"]
            found |= {"di_before": before, "di_after": after, "di_change": after - before}
            found |= {key: self.scalars[key] for key in ("moved", "rank_correlation")}
        for row in self.scalars.get("chi_layers", []):
            found[f"chi/{row['layer']}"] = " to ".join("-" if v is None else f"{v:.4g}" for v in row["chi"])
        for name, row in self.scalars.get("faig_overlap", {}).items():
            found[f"top_1%_shared/{name}"] = row["overlap"][0]
        if self.scalars.get("split_half_overlap") is not None:
            found["split_half_overlap"] = self.scalars["split_half_overlap"]
        return found

    def figure(self) -> Any:
        from sr_hooks.figures.compare import compare_figure

        return compare_figure(self)
