"""A browser without a network, for the tests that open pages from disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import PATIENCE
from browsing import browser as browser


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab that knows of no network, and that fails the test where the page logs an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "request", lambda one: None if one.url.startswith(("file:", "data:", "blob:")) else troubles.append(one.url)
    )
    yield page
    context.close()
    assert troubles == []
