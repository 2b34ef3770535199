"""Pages of the service in a real browser; the tests that use it are skipped where Chromium is not installed."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

Browser, Page = sync_api.Browser, sync_api.Page
# Far above what anything takes, also on a busy machine, where a download has begun only after 20 s.
TIMEOUT_MS = 300_000


@contextmanager
def launch(*arguments: str) -> Iterator[Browser]:
    """Start Chromium with additional command line arguments."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *arguments], timeout=TIMEOUT_MS
        )
        yield browser
        browser.close()


@contextmanager
def visits(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages by ``visit(base_url, path, expected_messages=(), **context_options)``.

    On exit, assert that the pages sent requests to no other host and that their console was empty, apart from messages
    that contain one of `expected_messages`. Violations of the Content-Security-Policy are such messages.
    """
    visited = []

    def visit(base_url: str, path: str, *, expected_messages: tuple[str, ...] = (), **context_options) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | context_options)
        context.set_default_timeout(TIMEOUT_MS)
        page, requests, messages = context.new_page(), [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        visited.append((context, base_url, requests, messages, expected_messages))
        page.goto(base_url + path)
        return page

    sync_api.expect.set_options(timeout=TIMEOUT_MS)
    yield visit
    for context, base_url, requests, messages, expected_messages in visited:
        context.close()
        assert requests
        assert [url for url in requests if not url.startswith((f"{base_url}/", f"blob:{base_url}/", "data:"))] == []
        assert [text for text in messages if not any(part in text for part in expected_messages)] == []


def expect(page: Page, selector: str):
    return sync_api.expect(page.locator(selector))


def horizontal_overflow(page: Page) -> int:
    """How much wider the page is than the window [CSS px]."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def is_dark(page: Page) -> bool:
    """Whether the background of the page is dark."""
    channels = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    return sum(channels[:3]) < 3 * 64


def unnamed_elements(page: Page) -> list[str]:
    """Lines of the accessibility tree with an element that needs a name and has none."""
    roles = "button|slider|link|textbox|progressbar|region|list"
    return re.findall(rf"^\s*- (?:{roles})\b(?! \").*", page.locator("body").aria_snapshot(), re.MULTILINE)
