"""What every command shares at the terminal: how much is said, as what, where results go, examples, completion."""

from sr_hooks.cli.terminal.answer import Answer

__all__ = ["Answer"]
