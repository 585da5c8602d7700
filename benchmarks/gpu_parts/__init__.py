"""The parts of benchmarks/gpu.py: what is measured, on which networks, against which published procedure."""
