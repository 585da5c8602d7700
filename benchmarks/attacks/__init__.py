"""The four attacks of `benchmarks/attack.py`."""
