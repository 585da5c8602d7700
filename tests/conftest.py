"""What tests share: small networks, real photographs, and the development data where it is present."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.errors import SRHooksError
from sr_hooks.images.image import downsample, read_image
from sr_hooks.networks.loading.loaders import import_basicsr

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by `-m`
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark integration tests by their folder, those in a browser by their fixture, and all that are left as quick."""
    for item in items:
        if REPOSITORY / "tests/integration" in item.path.parents:
            item.add_marker("integration")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if not any(item.get_closest_marker(name) for name in ("slow", "integration", "browser", "gpu")):
            item.add_marker("quick")


def data_folder() -> Path | None:
    """The development data: SR_HOOKS_DATA, or `shared/data` beside or in the repository."""
    named = os.environ.get("SR_HOOKS_DATA")
    for folder in [Path(named)] if named else [REPOSITORY.parent / "shared/data", REPOSITORY / "shared/data"]:
        if (folder / "SOURCES.md").is_file():
            return folder
    return None


@pytest.fixture(scope="session")
def data() -> Path:
    folder = data_folder()
    if folder is None:
        pytest.skip("the development data (shared/data, or SR_HOOKS_DATA) is not on this machine")
    return folder


@pytest.fixture(scope="session")
def basicsr():
    try:
        return import_basicsr()
    except SRHooksError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", autouse=True)
def _one_thread_and_own_cache(tmp_path_factory: pytest.TempPathFactory):
    """One thread, and calibrations kept apart from the user's."""
    torch.set_num_threads(1)
    os.environ["SR_HOOKS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield


@pytest.fixture(scope="session")
def baseline():
    return demo_network("baseline")


@pytest.fixture(scope="session")
def target():
    return demo_network("target")


@pytest.fixture(scope="session")
def photo() -> torch.Tensor:
    """A real photograph, (1,3,256,256)."""
    return read_image(photographs()[1])


@pytest.fixture(scope="session")
def lr(photo: torch.Tensor) -> torch.Tensor:
    """The photograph shrunk by 4, (1,3,64,64)."""
    return downsample(photo, 4)


@pytest.fixture(scope="session")
def small_lr(lr: torch.Tensor) -> torch.Tensor:
    """A corner of it with an eye in, (1,3,24,24)."""
    return lr[..., 10:34, 10:34].clone()


def hooks_on(module: torch.nn.Module) -> int:
    """How many hooks of any kind are on a module and its parts."""
    kinds = [
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_state_dict_hooks",
        "_load_state_dict_pre_hooks",
    ]
    return sum(len(getattr(part, kind)) for part in module.modules() for kind in kinds)
