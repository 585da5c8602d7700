"""Results to figures, one module an analysis."""
