"""The commands of `sr-hooks`: parse the arguments, call the public function, print."""

from sr_hooks.cli.app import main

__all__ = [
    "main",
]
