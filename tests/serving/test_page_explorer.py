"""The explorer and the GAN Lab in Chromium, with real generators; every view by phone, keyboard and reader."""

import csv
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_page_live import small

import equipoise
from browsing import Open, Serve, Server, Visit
from equipoise import Run

VIEWS = {
    "live": ".chart b",
    "explore": ".sliders label",
    "lab": ".bench dd",
    "train": "form select",
}  # and what is last


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("explored") / "runs" / "walk"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return equipoise.train(small(keep_every=160), out=folder, quiet=True)


@pytest.fixture(scope="module")
def server(run: Run, serving: Serve) -> Server:
    return serving(run.path.parent, "--allow-train")


def saved(visit: Visit) -> tuple[list[float], np.ndarray]:
    """The latents and the picture that the page saves."""
    with visit.page.expect_download() as latents:
        visit.page.get_by_role("button", name="Save latents").click()
    with visit.page.expect_download() as picture:
        visit.page.get_by_role("button", name="Save PNG").click()
    rows = list(csv.reader(latents.value.path().read_text().splitlines()))
    return [float(value) for value in rows[0]], np.asarray(Image.open(picture.value.path()).convert("L"))


def generated(run: Run, latents: list[float], **options: Any) -> np.ndarray:
    return equipoise.sample(run, latents=np.array([latents], np.float32), **options)[0, 0].numpy().astype(int)


def test_what_is_shown_is_what_the_generator_makes_of_the_latents_that_are_saved(
    run: Run, server: Server, visit: Open
) -> None:
    page = (opened := visit(f"{server.address}#explore")).page
    page.locator(".wall img").nth(23).wait_for()
    page.locator(".wall button").nth(3).click()
    first, picture = saved(opened)
    assert np.abs(picture - generated(run, first)).max() <= 1
    assert page.evaluate("getComputedStyle(document.querySelector('.shown')).imageRendering") == "pixelated"

    before = page.locator(".shown").get_attribute("src")
    page.locator(".sliders label input").first.fill("2")
    opened.until("before => document.querySelector('.shown').src !== before", before)
    moved, picture = saved(opened)
    assert np.abs(np.subtract(moved, first)).max() > 0.1
    assert np.abs(picture - generated(run, moved)).max() <= 1

    page.locator("summary").filter(has_text="latents").click()
    before = page.locator(".shown").get_attribute("src")
    page.get_by_role("button", name="Reset sliders").click()
    page.locator(".sliders.narrow input").nth(4).fill("-0.5")
    opened.until("before => document.querySelector('.shown').src !== before", before)
    assert saved(opened)[0][:6] == pytest.approx([*first[:4], -0.5, first[5]])
    before = page.locator(".shown").get_attribute("src")
    page.get_by_label("Weights").select_option("false")
    opened.until("before => document.querySelector('.shown').src !== before", before)
    raw, picture = saved(opened)
    assert np.abs(picture - generated(run, raw, ema=False)).max() <= 1


def test_two_pins_and_everything_between(server: Server, visit: Open) -> None:
    page = (opened := visit(f"{server.address}#explore")).page
    page.locator(".wall img").nth(23).wait_for()
    page.locator(".wall button").nth(0).click()
    page.keyboard.press("a")
    a, _ = saved(opened)
    page.locator(".wall button").nth(1).click()
    page.keyboard.press("b")
    b, _ = saved(opened)
    page.locator(".strip button").nth(4).click()
    middle, _ = saved(opened)
    assert np.allclose(middle, np.add(a, b) / 2, atol=1e-6), "uniform latents are mixed along the line"
    assert np.abs(np.subtract(middle, a)).max() > 0.05
    page.get_by_role("button", name="Play", exact=True).click()
    position = page.get_by_label("Between A and B").input_value()
    opened.until("before => document.querySelector('.mix input').value !== before", position)
    page.get_by_role("button", name="Stop", exact=True).click()


def test_a_picture_of_ones_own(server: Server, visit: Open) -> None:
    page = (opened := visit(f"{server.address}#explore")).page
    opened.expected.append("415 (Unsupported Media Type)")
    page.locator(".wall img").first.wait_for()
    data = io.BytesIO()
    Image.fromarray(np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))).save(data, "PNG")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "note.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    page.get_by_text("Choose a PNG, JPEG or WebP").wait_for()
    chooser.set_input_files({"name": "ramp.png", "mimeType": "image/png", "buffer": data.getvalue()})
    page.locator(".found figure").nth(3).wait_for()
    captions = page.locator(".found figcaption b").all_inner_texts()
    assert captions == ["Your picture", "Nearest that G makes", "Redrawn by D", "Energy map"]
    assert "Its energy is" in page.inner_text(".found")
    # A newer picture takes the place of one that is still looked for, whatever the older one's answer will be.
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n" + 100 * b"\xff"}
    page.route("**/invert", lambda route: (page.wait_for_timeout(500), route.continue_()), times=1)
    chooser.set_input_files({"name": "ramp.png", "mimeType": "image/png", "buffer": data.getvalue()})
    chooser.set_input_files(broken)
    refused = page.get_by_text("cannot be read: send another")
    refused.wait_for()
    page.wait_for_timeout(1000)
    assert refused.is_visible()
    assert page.inner_text(".found") == "", "nothing is said of another picture"
    chooser.set_input_files({"name": "ramp.png", "mimeType": "image/png", "buffer": data.getvalue()})

    before = page.locator(".shown").get_attribute("src")
    page.get_by_role("button", name="Walk on from its latent").click()
    assert page.locator(".shown").get_attribute("src") != before

    page.get_by_role("button", name="Find them").click()
    page.locator(".nearest figure").nth(3).wait_for()
    assert "a real image is usually" in page.inner_text(".nearest")
    page.get_by_label("Weights").select_option("false")
    assert page.inner_text(".found") == page.inner_text(".nearest") == "", "nothing is said of other weights"


def test_a_slow_server_is_asked_for_less(server: Server, visit: Open) -> None:
    """And nothing is done with an image, or said of one, that is not there."""
    page = (opened := visit(f"{server.address}#lab")).page
    opened.expected += ["400 (Bad Request)", "413 ("]
    refuse = lambda route: route.fulfill(status=400, json={"error": "not now"})  # noqa: E731
    page.route("**/generate", refuse)
    page.get_by_role("link", name="Explorer").click()
    page.get_by_text("not now").wait_for()
    page.keyboard.press("s")
    for name in ("Save PNG", "Save latents", "Find them"):
        assert page.get_by_role("button", name=name).is_disabled()
    page.unroute("**/generate", refuse)

    def slow(route: Any) -> None:
        asked = route.request.post_data_json
        if (asked.get("count") or len(asked.get("latents", ()))) > 10:
            route.fulfill(status=413, json={"error": "too many", "most": 10})
        else:
            route.continue_()

    page.route(re.compile("/generate$|/interpolate$"), slow)
    page.reload()
    page.locator(".wall img").nth(23).wait_for()
    for name, sample in (("a", 0), ("b", 23)):
        page.locator(".wall button").nth(sample).click()
        page.keyboard.press(name)
    page.locator(".strip img").nth(8).wait_for()
    strip = page.locator(".strip img")
    ends = [page.locator(f"[data-pin={name}]").get_attribute("src") for name in "ab"]
    assert [strip.nth(0).get_attribute("src"), strip.nth(8).get_attribute("src")] == ends
    assert "too many" not in page.inner_text("main")

    find = page.get_by_role("button", name="Find them")
    held: list[Any] = []
    page.route("**/nearest", lambda route: held.append(route), times=1)  # noqa: PLW0108  # it marks what it is given
    find.click()
    opened.until("document.querySelector('.nearest').textContent.includes('Looking')")
    before = page.locator(".shown").get_attribute("src")
    page.keyboard.press("n")
    opened.until("before => document.querySelector('.shown').src !== before", before)
    held[0].abort()
    page.wait_for_timeout(300)
    assert page.inner_text(".nearest") == "", "nothing is said of the image before"
    find.click()
    page.locator(".nearest figure").nth(3).wait_for()
    assert page.locator(".nearest .this img").get_attribute("src") == page.locator(".shown").get_attribute("src")
    page.get_by_role("button", name="Reset sliders").click()
    assert page.inner_text(".nearest") == ""


def test_the_lab_can_be_loaded_again_and_again(server: Server, visit: Open) -> None:
    """What a page leaves behind that is closed does not lock out the next."""
    page = visit(f"{server.address}#lab").page
    for _ in range(6):
        page.locator(".bench").nth(1).locator(".scores dd").nth(1).wait_for()
        page.reload()
    page.locator(".bench").nth(1).locator(".scores dd").nth(1).wait_for()
    assert "in use" not in page.inner_text("main")


def test_toys_train_step_by_step_and_beside_each_other(server: Server, visit: Open) -> None:
    page = (opened := visit(f"{server.address}#lab")).page
    for bench in (0, 1):  # the points seen, and what the first step says
        page.locator(".bench").nth(bench).locator(".scores dd").nth(1).wait_for()
    seen = "n => Number(document.querySelectorAll('.bench')[n].querySelector('dd b').textContent.replace(/,/g, ''))"
    page.locator(".bench").nth(1).get_by_label("Objective").select_option("began")
    first = page.locator(".bench").nth(0)
    first.get_by_label("Pace").select_option("1")
    before = page.evaluate(seen, 0)
    pixels = "document.querySelector('.bench canvas').toDataURL()"
    picture = page.evaluate(pixels)
    first.get_by_role("button", name="Step", exact=True).click()
    opened.until(f"before => ({seen})(0) === before + 256", before)
    assert page.evaluate(pixels) != picture
    page.get_by_role("button", name="Run both").click()
    for bench in (0, 1):
        before = page.evaluate(seen, bench)
        opened.until(f"([n, before]) => ({seen})(n) > before", [bench, before])
    page.get_by_role("button", name="Stop both").click()
    page.get_by_role("button", name="Run both").wait_for()

    trainings = lambda: page.request.get(f"{server.address}metrics").text().split("\nequipoise_toys ")[1].split()[0]  # noqa: E731
    before = trainings()
    first.get_by_label("Objective").focus()
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    chosen = first.get_by_label("Objective").input_value()
    opened.until("name => document.querySelector('.bench canvas').ariaLabel.includes(` of ${name} `)", chosen)
    page.wait_for_timeout(500)
    assert trainings() == before, "one that is not wanted any more is let go of"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readers_find_nothing_serious_and_nothing_sticks_out_on_a_phone(
    server: Server, visit: Open, scheme: str
) -> None:
    opened = visit(server.address, color_scheme=scheme, viewport={"width": 360, "height": 800}, has_touch=True)
    page = opened.page
    ready = {
        "live": ".chart .readout b",
        "explore": ".sliders label",
        "lab": ".bench .scores dd",
        "train": "form select",
    }
    for view in VIEWS:
        page.goto(f"{server.address}#{view}")
        page.locator(ready[view]).first.wait_for()
        assert opened.serious() == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(int(part) for part in ground[4:-1].split(",")) < 64) == (scheme == "dark")
    page.get_by_role("button", name="Theme").click()  # light
    page.get_by_role("button", name="Theme: light").click()  # dark
    page.reload()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in ground[4:-1].split(",")) < 64, "what was chosen is kept"


def test_by_keyboard_alone(server: Server, visit: Open) -> None:
    page = (opened := visit(server.address)).page
    page.locator(".chart").first.wait_for()
    focused = "[document.activeElement.tagName, document.activeElement.textContent.trim()].join(' ')"

    def tab_to(text: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if text in page.evaluate(focused):
                width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
                assert float(width.removesuffix("px")) >= 2, "where one is can be seen"
                return
        pytest.fail(f"{text} cannot be reached")

    page.keyboard.press("Tab")
    assert "Skip to the content" in page.evaluate(focused)
    tab_to("SUMMARY Convergence")
    page.keyboard.press("Enter")
    assert page.locator(".chart details[open]").count() == 1
    page.keyboard.press("Home")
    page.evaluate("document.activeElement.blur()")
    tab_to("A Explorer")
    page.keyboard.press("Enter")
    page.locator(".wall img").nth(23).wait_for()
    assert page.evaluate("document.activeElement.id") == "main", "readers begin at the new view"
    before = page.locator(".shown").get_attribute("src")
    page.keyboard.press("n")
    opened.until("before => document.querySelector('.shown').src !== before", before)
    page.keyboard.press("a")
    assert page.get_by_text("A, pinned").is_visible()
    tab_to("Save PNG")
