"""Recipes: every architecture that is promised, built at a small size."""
