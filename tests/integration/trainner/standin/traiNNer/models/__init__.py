"""Stands for traiNNer/models/__init__.py: build_model copies the options. BUILT is for the tests."""

from copy import deepcopy

from traiNNer.models.sr_model import SRModel

BUILT = []


def build_model(opt):
    BUILT.append(SRModel(deepcopy(opt)))
    return BUILT[-1]
