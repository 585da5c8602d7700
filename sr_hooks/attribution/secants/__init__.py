"""Integrals along image paths by the slopes between nodes, for networks of rectifiers."""
