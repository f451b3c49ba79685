"""Pictures of the page that `equipoise serve` shows, from real runs, for the docs.

python -m benchmarks.screenshots RUNS --beside cars-began cars-gan --explored demo

RUNS is a folder of runs on images, three of which are named.
"""

import argparse
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 960}, {"width": 390, "height": 844}
PATIENCE = 60_000  # milliseconds: directions and encoders are found while the page waits
COLOURS = 256  # of a saved picture, which makes it a third as large


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--beside", nargs=2, required=True, metavar=("A", "B"))
    parser.add_argument("--explored", required=True, metavar="C")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "equipoise", "serve", str(asked.runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        address = server.stdout.readline().split()[2]
        browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])

        def opened(size: dict[str, int], scheme: str, view: str) -> Page:
            context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.goto(f"{address}#{view}")
            return page

        try:
            take(opened, asked.out, *asked.beside, asked.explored)
        finally:
            browser.close()
            server.terminate()


def take(opened: Callable[..., Page], out: Path, first: str, second: str, explored: str) -> None:
    """All pictures."""
    page = opened(DESKTOP, "light", "live")
    beside(page, first, second)
    page.evaluate("scrollTo(0, 0)")
    save(out / "serve-live.png", [page.screenshot()])

    page = opened(DESKTOP, "light", "explore")
    explore(page, explored)
    save(out / "serve-explorer.png", [page.screenshot()])

    page = opened(DESKTOP, "dark", "lab")
    page.locator(".bench dd").nth(3).wait_for()
    page.get_by_role("button", name="Run both").click()
    page.wait_for_timeout(60_000)
    page.get_by_role("button", name="Stop both").click()
    page.wait_for_timeout(1500)
    save(out / "serve-lab.png", [page.screenshot()])

    phones = [opened(PHONE, "light", "live"), opened(PHONE, "light", "live"), opened(PHONE, "dark", "explore")]
    for phone in phones[:2]:
        choose(phone, first).click()
        phone.locator(".run-list summary").click()
        settle(phone)
    phones[1].locator(".chart").first.scroll_into_view_if_needed()
    phones[1].evaluate("document.querySelector('.curves').scrollIntoView()")
    explore(phones[2], explored, upload=False)
    for phone in phones:
        phone.wait_for_timeout(700)
    save(out / "serve-phone.png", [phone.screenshot() for phone in phones])


def choose(page: Page, name: str) -> Locator:
    """The button of a run in the list."""
    page.locator("aside li").first.wait_for(state="attached")
    if page.locator(".run-list[open]").count() == 0:
        page.locator(".run-list summary").click()
    return page.locator("aside button").filter(has=page.get_by_text(name, exact=True))


def settle(page: Page) -> None:
    """Wait until all pictures are there."""
    page.locator(".chart").first.wait_for()
    while not page.evaluate("[...document.querySelectorAll('.frame img')].every((image) => image.naturalWidth > 1)"):
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)


def beside(page: Page, first: str, second: str) -> None:
    choose(page, first).click()
    page.get_by_role("checkbox", name=f"{second} beside the others", exact=True).check()
    page.locator("article").nth(1).wait_for()
    settle(page)


def explore(page: Page, name: str, upload: bool = True) -> None:
    """Pin two samples, look for training images, upload a digit."""
    runs = page.locator(".settings select").first
    runs.wait_for()
    value = page.evaluate("name => [...document.querySelector('.settings select').options]"
                          ".find((option) => option.text.startsWith(name + ' ')).value", name)  # fmt: skip
    runs.select_option(value)
    page.locator(".wall img").nth(23).wait_for()
    page.locator(".wall button").nth(0).click()
    page.keyboard.press("a")
    page.locator(".wall button").nth(7).click()
    page.keyboard.press("b")
    page.locator(".strip button").nth(4).click()
    page.locator(".sliders label").first.wait_for()
    if not upload:
        return
    page.get_by_role("button", name="Find them").click()
    page.locator(".nearest figure").nth(3).wait_for()
    page.evaluate("scrollTo(0, 0)")


def save(path: Path, shots: list[bytes]) -> None:
    """Pictures side by side, in few colours."""
    pictures = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    gap = 24 if len(pictures) > 1 else 0
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    place = 0
    for picture in pictures:
        whole.paste(picture, (place, 0))
        place += picture.width + gap
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
