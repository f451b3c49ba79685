"""The explorer in Chromium while answers come late: what is shown is what is said, whichever comes last."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_page_explorer import generated, saved
from test_page_live import small

import equipoise
from browsing import Open, Serve, Server, Visit
from equipoise import Run
from equipoise.config.presets import PRESETS
from equipoise.networks import DCGAN
from equipoise.objectives import Tasks
from equipoise.serving.catalogue import id_of

SHOWN = "document.querySelector('.shown').src"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run with three checkpoints, and one of classes."""
    folder = tmp_path_factory.mktemp("raced") / "runs"
    gan = PRESETS["gan"]["default"].with_changes(network=DCGAN(width=4, latent=8), tasks=Tasks(classify_d=1))
    same = dict.fromkeys(("resolution", "log_every", "precision", "device", "ema"))
    gan = gan.with_changes(data="digits", images=64, batch=16, **{name: getattr(small(), name) for name in same})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return {
            "walk": equipoise.train(small(keep_every=160), out=folder / "walk", quiet=True),
            "digits": equipoise.train(gan, out=folder / "digits", quiet=True),
        }


@pytest.fixture(scope="module")
def server(runs: dict[str, Run], serving: Serve) -> Server:
    return serving(runs["walk"].path.parent)


@pytest.fixture
def walk(runs: dict[str, Run], server: Server, visit: Open) -> Visit:
    return opened(visit, server, runs["walk"])


def opened(visit: Open, server: Server, run: Run) -> Visit:
    found = visit(f"{server.address}#explore/{id_of(run.path)}")
    found.page.locator(".sliders input").first.wait_for()
    found.page.locator(".wall img").nth(23).wait_for()
    return found


class Held:
    """The first request that fits is held back until it is let go."""

    def __init__(self, visit: Visit, pattern: str, fits: Callable[[Any], bool] = lambda _: True) -> None:
        self.visit = visit
        self.route: Any = None

        def handle(route: Any) -> None:
            if self.route is None and fits(route.request):
                self.route = route
            else:
                route.fallback()

        visit.page.route(pattern, handle)

    def wait(self) -> None:
        while self.route is None:
            self.visit.page.wait_for_timeout(10)

    def let_go(self) -> None:
        """Let it go, and wait until the page has its answer and whatever follows from it."""
        self.wait()
        with self.visit.page.expect_response(self.route.request.url):
            self.route.continue_()
        self.visit.page.wait_for_timeout(300)


def of_latents(number: int, at: int | None = None) -> Callable[[Any], bool]:
    """Requests for images of so many latents, of a checkpoint."""
    asked = lambda request: request.post_data_json  # noqa: E731
    return lambda request: len(asked(request).get("latents") or ()) == number and asked(request).get("at") == at


def checkpoint(visit: Visit, images: int) -> None:
    visit.page.get_by_label("Checkpoint").select_option(str(images))


def agrees(visit: Visit, run: Run, images: int) -> bool:
    """Whether the picture is what a checkpoint makes of the latents that are saved with it."""
    latents, picture = saved(visit)
    return bool(np.abs(picture - generated(run, latents, at=images)).max() <= 1)


def test_an_answer_to_a_slider_covers_no_image_that_is_shown_since(runs: dict[str, Run], walk: Visit) -> None:
    held = Held(walk, "**/generate", of_latents(1))
    walk.page.locator(".sliders input").first.fill("2")
    held.wait()
    tile = walk.page.locator(".wall button").nth(5)
    tile.click()
    held.let_go()
    assert walk.page.evaluate(SHOWN) == tile.locator("img").get_attribute("src")
    assert agrees(walk, runs["walk"], 480)


def test_a_sample_of_a_wall_that_is_stale_is_made_anew(runs: dict[str, Run], walk: Visit) -> None:
    """Another checkpoint was chosen, whose wall is not there yet."""
    held = Held(walk, "**/generate", of_latents(24, at=160))
    checkpoint(walk, 160)
    held.wait()
    before = walk.page.evaluate(SHOWN)
    with walk.page.expect_response("**/generate"):
        walk.page.locator(".wall button").nth(5).click()
    walk.until(f"before => {SHOWN} !== before", before)
    walk.page.wait_for_timeout(300)
    assert agrees(walk, runs["walk"], 160)
    held.let_go()


def test_sliders_have_the_directions_of_the_checkpoint_that_is_chosen(
    runs: dict[str, Run], server: Server, walk: Visit
) -> None:
    page, found = walk.page, f"{server.address}api/v1/runs/{id_of(runs['walk'].path)}/directions?ema=true&at="
    for images in (160, 320):
        while page.request.get(f"{found}{images}").status == 503:
            page.wait_for_timeout(100)
    held = Held(walk, "**/directions*", lambda request: "at=160" in request.url)
    checkpoint(walk, 160)
    held.wait()
    with page.expect_response("**/directions?at=320*"):
        checkpoint(walk, 320)
    held.route.continue_()  # if it is still wanted
    page.wait_for_timeout(500)
    page.locator(".wall button").nth(1).click()
    before = np.array(saved(walk)[0])
    page.locator(".sliders input").first.fill("0.2")
    after = np.array(saved(walk)[0])
    free = np.abs(after) < 1  # those of a uniform prior stay within it
    vector = page.request.get(f"{found}320").json()["directions"][0]["vector"]
    assert np.allclose((after - before)[free], 0.2 * np.array(vector)[free], atol=1e-4)


def test_pins_show_what_the_checkpoint_makes_that_is_chosen(walk: Visit) -> None:
    page = walk.page
    for number, name in enumerate("ab"):
        page.locator(".wall button").nth(number).click()
        page.keyboard.press(name)
    page.locator(".strip img").nth(8).wait_for()
    held = Held(walk, "**/generate", of_latents(2, at=160))
    checkpoint(walk, 160)
    held.wait()
    with page.expect_response("**/interpolate"):
        checkpoint(walk, 320)
    page.wait_for_timeout(200)
    shown = [page.locator(f"[data-pin={name}]").get_attribute("src") for name in "ab"]
    held.let_go()
    assert [page.locator(f"[data-pin={name}]").get_attribute("src") for name in "ab"] == shown


def test_a_pin_shows_the_image_of_its_latents(walk: Visit) -> None:
    """Though the stage still has that of a moment ago."""
    held = Held(walk, "**/generate", of_latents(1))
    before = walk.page.evaluate(SHOWN)
    walk.page.locator(".sliders input").first.fill("2")
    held.wait()
    walk.page.keyboard.press("a")
    walk.until("before => document.querySelector('[data-pin=a]').src !== before", before)
    held.let_go()
    assert walk.page.evaluate(SHOWN) == walk.page.locator("[data-pin=a]").get_attribute("src")


def test_a_class_that_is_found_for_a_picture_is_that_of_all_that_is_shown(
    runs: dict[str, Run], server: Server, visit: Open
) -> None:
    found = opened(visit, server, runs["digits"])
    page = found.page
    latent = saved(found)[0]
    answer = {"latent": latent, "image": page.evaluate(SHOWN).split(",")[1], "label": 3}
    answer = {**answer, "original": answer["image"]}
    page.route("**/invert", lambda route: route.fulfill(json=answer))
    data = io.BytesIO()
    Image.new("L", (16, 16)).save(data, "PNG")
    page.locator("input[type=file]").set_input_files(
        {"name": "own.png", "mimeType": "image/png", "buffer": data.getvalue()}
    )
    with page.expect_request(lambda request: request.url.endswith("/generate") and of_latents(24)(request)) as asked:
        page.get_by_role("button", name="Walk on from its latent").click()
    assert page.get_by_label("Class").input_value() == "3"
    assert asked.value.post_data_json["labels"] == 3
