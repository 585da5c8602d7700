"""Integrals along image paths by the slopes between nodes, for networks of rectifiers."""

__all__: list[str] = []
