"""The style that all figures share, and what sets them on a sheet or in a page.

`style` is imported at its first use, so that the flags of a command cost no torch.
"""

from typing import TYPE_CHECKING

from sr_hooks.core.public_names import lazy_names

if TYPE_CHECKING:
    from sr_hooks.figures import style

__all__ = ["style"]


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # else the type checker would let every name pass
    __getattr__ = lazy_names(globals(), {})
