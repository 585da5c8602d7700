"""Stands for neosr/models/__init__.py: build_model copies the options. BUILT is for the tests."""

from copy import deepcopy

from neosr.models.image import image

BUILT = []


def build_model(opt):
    BUILT.append({"image": image}[opt["model_type"]](deepcopy(opt)))
    return BUILT[-1]
