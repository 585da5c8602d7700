"""Stands for the package neosr 0.1.0, which wants Python 3.12, numpy 1 and CUDA: classes of the same shapes."""
