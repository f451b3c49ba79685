"""The page in Debian's Chromium: the image in it is PyTorch's, and nothing is loaded from elsewhere."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import equipoise
from equipoise import Run, UsageError
from equipoise.data import to_uint8

pytestmark = pytest.mark.usefixtures("onnxruntime_web")
MakeRun = Callable[..., Run]


class Opened:
    """A page, and what went on in it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.evaluate("generator.ready")

    def image(self, latents: Any, label: int = 0) -> Any:
        """Pixels (H, W, 3) that the page shows for latents."""
        pixels = self.page.evaluate("([latents, label]) => generator.image(latents, label)", [latents, label])
        height, width = self.page.evaluate("ABOUT.shape.slice(1)")
        rgba = np.array(pixels, np.int64).reshape(height, width, 4)
        assert (rgba[..., 3] == 255).all()
        return rgba[..., :3]

    def shown(self) -> Any:
        return np.array(self.page.evaluate("generator.latents()"))


def pytorch_image(run: Run, latents: Any, label: int) -> Any:
    """(H, W, 3)"""
    generator = equipoise.load_generator(run)
    labels = torch.tensor([label]) if generator.classes else None
    with torch.inference_mode():
        image = to_uint8(generator(torch.tensor([latents], dtype=torch.float32), labels))[0]
    return image.expand(3, -1, -1).permute(1, 2, 0).numpy().astype(np.int64)


def web(run: Run, tmp_path: Path, **options: Any) -> Path:
    return equipoise.export(run, tmp_path / "page", format="web", **options).path


@pytest.mark.parametrize(
    "kind", ["classes", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("skips", "dcgan", "discrete"))]
)
def test_the_image_is_that_of_pytorch(make_run: MakeRun, tmp_path: Path, browser: Any, kind: str) -> None:
    run = make_run(kind)
    page = Opened(browser, (web(run, tmp_path) / "index.html").as_uri())
    for seed, label in ((0, 0), (1, 2)):
        latents = np.random.default_rng(seed).normal(size=6).tolist()
        found, wanted = page.image(latents, label), pytorch_image(run, latents, label)
        assert found.shape == wanted.shape
        if kind == "discrete":  # where the two values of a pixel are equally likely, rounding decides
            assert np.isin(found, [0, 255]).all()
            assert (found != wanted).mean() < 0.02
        else:
            assert np.abs(found - wanted).max() <= 2
        assert wanted.std() > 0
    assert page.errors == []
    assert {url.split(":")[0] for url in page.requests} <= {"file", "blob", "data"}
    page.context.close()


@pytest.mark.long
def test_a_graphics_card_makes_the_same_image(make_run: MakeRun, tmp_path: Path, browser: Any, chromium: str) -> None:
    """By WebGPU, on a card that Chromium emulates."""
    run = make_run("skips")
    arguments = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    with_card = browser.browser_type.launch(executable_path=chromium, args=arguments)
    page = Opened(with_card, (web(run, tmp_path) / "index.html").as_uri())
    if page.page.evaluate("generator.provider") != "webgpu":
        pytest.skip("this Chromium emulates no card")
    assert "WebGPU" in page.page.inner_text("#status")
    latents = np.random.default_rng(0).normal(size=6).tolist()
    assert np.abs(page.image(latents) - pytorch_image(run, latents, 0)).max() <= 2
    with_card.close()


@pytest.fixture
def served(make_run: MakeRun, tmp_path: Path) -> Iterator[tuple[Run, str]]:
    """The address of a page of classes, served as `python -m http.server` does."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    run = make_run("classes")
    folder = web(run, tmp_path, name="Three kinds")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield run, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_what_people_do_with_it(served: tuple[Run, str], browser: Any, tmp_path: Path) -> None:
    run, address = served
    opened = Opened(browser, address, color_scheme="dark", viewport={"width": 390, "height": 800})
    page = opened.page
    assert page.title() == "Three kinds"
    assert page.locator("#class option").count() == 3
    assert page.locator("#samples button").count() == 12
    assert "WebAssembly" in page.inner_text("#status")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out on a phone"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in dark[4:-1].split(",")) < 64

    before = opened.shown()
    page.keyboard.press("n")  # a new sample
    page.wait_for_function("before => generator.latents()[0] !== before", arg=before[0])
    page.keyboard.press("a")
    a = opened.shown()
    page.keyboard.press("n")
    page.wait_for_function("before => generator.latents()[0] !== before", arg=a[0])
    page.keyboard.press("b")
    b = opened.shown()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")  # to the middle between both
    middle = (a + b) / 2 / np.cos(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2)
    assert np.allclose(opened.shown(), middle, atol=2e-3), "on the sphere"

    about = json.loads(page.evaluate("JSON.stringify(ABOUT)"))
    page.locator("#directions input").first.fill("2")
    assert np.allclose(opened.shown(), middle + 2 * np.array(about["directions"][0]), atol=2e-3)
    page.keyboard.press("Escape")
    page.click("#reset")
    assert np.allclose(opened.shown(), middle, atol=2e-3)
    page.locator("summary").first.click()
    page.locator("#latents input").nth(4).fill("-1.5")
    assert opened.shown()[4] == -1.5

    page.select_option("#class", "1")
    page.wait_for_timeout(300)
    with page.expect_download() as download:
        page.click("#save-latents")
    saved = np.loadtxt(download.value.path(), delimiter=",")
    assert np.allclose(saved, opened.shown(), atol=1e-6)
    wanted = pytorch_image(run, saved.tolist(), 1)
    shown = page.evaluate(
        "[...document.querySelector('#image').getContext('2d').getImageData(0, 0, 16, 16).data]",
    )
    assert np.abs(np.array(shown).reshape(16, 16, 4)[..., :3] - wanted).max() <= 2
    page.click("#play")
    page.wait_for_function("before => generator.latents()[0] !== before", arg=saved[0])
    page.click("#play")
    assert opened.errors == []
    assert all(url.startswith((address, "blob:", "data:")) for url in opened.requests)
    opened.context.close()


def test_what_is_picked_while_it_plays_stays(served: tuple[Run, str], browser: Any) -> None:
    opened = Opened(browser, served[1])
    page = opened.page
    page.evaluate("newSample().then(() => pin('a')).then(newSample).then(() => pin('b'))")
    page.wait_for_function("!document.querySelector('#play').disabled")
    for pick in (lambda: page.locator("#samples button").nth(3).click(), lambda: page.keyboard.press("ArrowRight")):
        page.keyboard.press("p")
        page.wait_for_function("document.querySelector('#play').textContent === 'Stop'")
        pick()
        picked = opened.shown()
        page.wait_for_timeout(300)
        assert np.array_equal(opened.shown(), picked)
        assert page.inner_text("#play") == "Play"
    page.context.close()


def test_a_pin_shows_its_own_latents(served: tuple[Run, str], browser: Any) -> None:
    """Pinned before the image of a new sample is there."""
    run, address = served
    page = Opened(browser, address).page
    page.evaluate("newSample(), pin('a')")
    latents = page.evaluate("[...state.pins.a]")
    page.evaluate("redraw().then(() => run(state.base, [0]))")  # after which all is done that was asked for before
    shown = page.evaluate(
        "[...document.querySelector('#pin-a canvas').getContext('2d').getImageData(0, 0, 16, 16).data]"
    )
    assert np.abs(np.array(shown).reshape(16, 16, 4)[..., :3] - pytorch_image(run, latents, 0)).max() <= 2
    page.context.close()


def test_the_other_prior_goes_straight_and_stays_within(make_run: MakeRun, tmp_path: Path, browser: Any) -> None:
    run = make_run("autoencoder")
    tensors, facts, _ = run.load_checkpoint()
    run.change_config(run.config.with_changes(prior="uniform"), run.place)
    run.save_checkpoint(64, tensors, facts)
    page = Opened(browser, (web(run, tmp_path) / "index.html").as_uri()).page
    assert np.allclose(page.evaluate("generator.interpolate([1, 0], [0, 0.5], 0.5)"), [0.5, 0.25])
    assert page.evaluate("Math.max(...generator.latents().map(Math.abs))") <= 1
    page.locator("#directions input").first.fill("1")
    page.locator("#directions input").nth(1).fill("1")
    assert page.evaluate("Math.max(...generator.latents().map(Math.abs))") <= 1
    page.context.close()


def test_what_no_page_can_show(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fills in images"):
        web(make_run("filling"), tmp_path)
    assert not (tmp_path / "page").exists()


def test_the_page_says_nothing_of_this_machine(run: Run, tmp_path: Path) -> None:
    folder = web(run, tmp_path)
    assert "MIT License" in (folder / "LICENSES.txt").read_text()
    for name in ("about.js", "index.html", "page.js"):
        text = (folder / name).read_text()
        assert str(tmp_path) not in text
        assert "http://" not in text and "https://" not in text  # noqa: PT018
