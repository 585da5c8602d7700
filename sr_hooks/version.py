"""The version, alone, so that nothing needs the whole package to say it."""

__version__ = "0.2.0"

__all__ = ["__version__"]
