"""What the tests of the report share: a browser."""

from __future__ import annotations

import pytest

from tests.support.browser import chromium


@pytest.fixture(scope="package")
def browser():
    with chromium() as page:
        yield page
