"""Pages in a real browser, watched: what they ask for, and what they complain of."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright


@contextmanager
def chromium():
    """A running browser."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.fail("chromium is not on PATH; pages are tested in a browser: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield running
        running.close()


@contextmanager
def watched(browser):
    """A function that opens a file as a page; the page may ask for nothing else and complain of nothing.

    Its option `context` opens the page where another one is open; other options are those of a new context.
    """
    contexts, requests, complaints, files = [], [], [], []

    def open_file(path, context=None, **options):
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        files.append(Path(path).as_uri())
        page.goto(files[-1])
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == files
