"""Where the public names of a package are defined: imported at their first use, and known by their old modules."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "MovedError", "install_moved_finder", "lazy_names"]

_BY_FOLDER = {  # the folder that has the public names now: the old modules, below `sr_hooks.`
    "core": "escapes options plugins progress seeds tables user_cache",
    "figures": "report.pictures",
    "images": "image_sets metrics video windows",
    "degradations": "degradation_chains degradation_kinds spoil",
    "hooks": "interventions severed taps",
    "networks": "bare calling network network_clips network_gradients network_sources outputs pixel_values probing",
    "networks.loading": "alignment checkpoints demo.network foreign_code loaders loaders_mmagic preprocessing "
    "unpickling",
    "inference": "batches execution perturbation streaming tails",
    "statistics": "embedding faithfulness.statistics gram identification measures separability sketch",
    "results": "cache card figures.card film run_index",
    "attribution": "gradients objectives paths quadrature weight_paths weight_quadrature",
    "attribution.receptive_field": "boxes cone influence neighbourhoods regions tracing",
    "analyses": "analysis degraded_inputs",
    "analyses.lam": "analyses.lam_clip analyses.lam_demo analyses.lam_explanation analyses.lam_result "
    "analyses.lam_verdict analyses.precision figures.lam figures.lam_clip",
    "analyses.ddr": "analyses.ddr_features analyses.ddr_generalisation analyses.ddr_measure analyses.ddr_options "
    "analyses.ddr_result analyses.ddr_samples analyses.ddr_verdict analyses.ddr_watch figures.ddr figures.ddr_film",
    "analyses.faig": "analyses.faig_inputs analyses.faig_integral analyses.faig_result analyses.faig_verdict "
    "analyses.faig_watch analyses.filters analyses.surgery analyses.trajectory figures.faig",
    "analyses.faig_verify": "analyses.controls analyses.masking_pictures analyses.masking_trial "
    "analyses.verification analyses.verification_result figures.faig_verify",
    "comparison": "comparison.measured comparison.soundness figures.compare",
    "training": "binding guarding ranks schedule session sinks watch_config watch_images watched",
    "adapters": "adapters.mmagic_hunt adapters.mmagic_run force_yml watching",
    "grid": "grid.asked grid.crew grid.place grid.sharing grid.spots",
    "grid.report": "figures.grid grid.cautions grid.gathered grid.outputs grid.tables grid.typeset report",
    "doctor": "cautions verified",
    "cli": "cli_compare cli_grid cli_networks cli_train new_plugin",
}

MOVED = {f"sr_hooks.{old}": f"sr_hooks.{folder}" for folder, names in _BY_FOLDER.items() for old in names.split()}
"""Old module: the folder whose public names hold what it had."""


class MovedError(ModuleNotFoundError):
    """The import of a module by a name of sr_hooks 0.1.

    The attribute `name` stays empty: Python swallows an error that has it in `from sr_hooks import taps`.
    """


class _MovedFinder:
    """The last finder that Python asks: it knows no module, and names the new place of a moved one."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name in MOVED:
            raise MovedError(f"{name} has moved to {MOVED[name]} (sr_hooks 0.2, plugin contract 2)")


def install_moved_finder() -> None:
    """Add the finder behind all others of this process; a second call adds none."""
    if not any(getattr(finder, "__qualname__", "") == _MovedFinder.__qualname__ for finder in sys.meta_path):
        sys.meta_path.append(_MovedFinder)


def lazy_names(namespace: dict[str, Any], sources: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose names come from elsewhere, as "package.module:name".

    A name that is no source is tried as a submodule, as if it had been imported before.

    Args:
        namespace: `globals()` of the package; a name is put there when it is first used.
        sources: public name to where it is defined.
    """
    package = namespace["__name__"]

    def get(name: str) -> Any:
        if name in sources:
            value = namespace[name] = pkgutil.resolve_name(sources[name])
            return value
        unknown = f"module {package!r} has no attribute {name!r}"
        if name.startswith("_"):
            raise AttributeError(unknown)
        try:
            return importlib.import_module(f"{package}.{name}")
        except MovedError as error:
            raise AttributeError(str(error)) from None
        except ModuleNotFoundError as error:
            if error.name != f"{package}.{name}":
                raise  # the submodule is there, and something that it needs is not
            raise AttributeError(unknown) from None

    return get
