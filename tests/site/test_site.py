"""The built site in a real browser, opened from disk: every page stands alone, fits a phone, and can be searched."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory):
    """The site, built as scripts/docs builds it."""
    folder = tmp_path_factory.mktemp("site")
    words = ["build", "--strict", "--config-file", "scripts/site/mkdocs.yml", "--site-dir", str(folder)]
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words], cwd=repository, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])


@pytest.fixture
def page(browser):
    """A phone's page that writes down what it asks for and what goes wrong."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    page.faults = []
    page.on("request", lambda asked: None if asked.url.startswith("file:") else page.faults.append(asked.url))
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    yield page
    context.close()


def test_every_page_opens_from_disk_without_a_request_and_fits_a_phone(site, page):
    found = {}
    files = sorted(set(site.rglob("*.html")) - {site / "404.html"})
    for file in files:
        page.goto(file.as_uri())
        too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        unread_lists = page.evaluate(
            r"[...document.querySelectorAll('p')].some(p => /\n(-|\d\.) /.test(p.textContent))"
        )
        empty = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        found[str(file)] = [*page.faults, *empty, *["too wide"] * too_wide, *["a list is a paragraph"] * unread_lists]
        page.faults.clear()
    assert len(files) > 40
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_search_works_from_disk(site, page):
    page.goto((site / "index.html").as_uri())
    page.set_viewport_size({"width": 1280, "height": 900})
    page.keyboard.press("/")
    page.keyboard.type("watershed")
    page.wait_for_selector(".md-search-result__item a")
    links = page.eval_on_selector_all(".md-search-result__item a", "links => links.map(link => link.href)")
    assert any("explanation/watershed.html" in link for link in links)
    assert page.faults == []
