"""Draw a page as Chromium shows it: `python docs/picture.py PAGE PICTURE`. `make picture` draws the README's."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
SIZE = ViewportSize(width=1100, height=900)


def draw(page: Path, picture: Path) -> None:
    """Write the top of `page` to `picture`, a PNG. Raises FileNotFoundError where there is no page or no browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError(f"none of {', '.join(BROWSERS)} is on the PATH. On Debian `make browser` installs one.")
    if not page.is_file():
        raise FileNotFoundError(f"{page}: no page there. Run `winnow review` first.")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        shown = opened.new_page(viewport=SIZE)
        shown.goto(page.resolve().as_uri())
        shown.screenshot(path=picture)
        opened.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
