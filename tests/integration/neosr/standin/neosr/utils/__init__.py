"""Stands for neosr/utils."""
