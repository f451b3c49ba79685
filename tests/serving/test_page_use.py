"""The page as it is used: on narrow screens, by keyboard in a list that moves, by whoever changes his mind."""

import shutil

import pytest
import requests
from test_page_live import small

import equipoise
from browsing import Open, Serve, Server
from equipoise import Run
from equipoise.runs.lock import sole_writer
from equipoise.serving.catalogue import id_of

LONG = 150 * "x"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("used") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return equipoise.train(small(images=160), out=folder / "one", quiet=True)


@pytest.fixture(scope="module")
def server(trained: Run, serving: Serve) -> Server:
    folder = trained.path.parent
    for name in ("two", LONG):
        shutil.copytree(trained.path, folder / name)
    return serving(folder, "--allow-train")


def test_the_explorer_fits_into_320_pixels(trained: Run, server: Server, visit: Open) -> None:
    viewport = {"width": 320, "height": 600}
    page = visit(f"{server.address}#explore/{id_of(trained.path)}", viewport=viewport).page
    page.locator(".sliders label").first.wait_for()
    wide = """[...document.querySelectorAll("body *")].filter(each => each.getBoundingClientRect().right > innerWidth)
      .map(each => each.outerHTML.slice(0, 80))"""
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, page.evaluate(wide)


def test_numbers_beside_a_long_name_stay_in_one_line(trained: Run, server: Server, visit: Open) -> None:
    ids = "+".join(id_of(trained.path.parent / name) for name in (LONG, "one"))
    page = visit(f"{server.address}#live/{ids}", viewport={"width": 1280, "height": 800}).page
    page.locator(".difference td").first.wait_for()
    rows = "[...document.querySelectorAll('.difference table:first-of-type tbody tr')].map(row => row.offsetHeight)"
    assert max(page.evaluate(rows)) < 45, "a line, and its padding"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_list_keeps_the_focus_as_it_is_sorted_anew(trained: Run, server: Server, visit: Open) -> None:
    page = (opened := visit(server.address)).page
    names = "[...document.querySelectorAll('aside li b')].map(name => name.textContent).join()"
    opened.until(f"{names} === 'one,two,{LONG}'")
    page.locator("aside li button").nth(1).focus()
    with sole_writer(trained.path.parent / "two"):  # as a training has it
        opened.until(f"{names} === 'two,one,{LONG}'")
        assert page.evaluate("document.activeElement.matches('li.running button')")


def test_a_picture_that_is_dropped_elsewhere_leaves_the_page_where_it_is(
    trained: Run, server: Server, visit: Open
) -> None:
    page = visit(f"{server.address}#explore/{id_of(trained.path)}").page
    page.locator(".sliders label").first.wait_for()
    leaves = """name => document.body.dispatchEvent(
      new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: new DataTransfer() }))"""
    assert not page.evaluate(leaves, "dragover")
    assert not page.evaluate(leaves, "drop")


def test_a_run_that_is_stopped_before_it_begins_is_said_to_be(server: Server, visit: Open) -> None:
    page = visit(f"{server.address}#train").page
    train = page.get_by_role("button", name="Train", exact=True)
    with page.expect_response(lambda response: response.request.method == "POST"):
        train.click()
    assert requests.delete(f"{server.address}api/v1/train", timeout=30).status_code == 204  # as in another window
    page.get_by_text("It was stopped before it began.").wait_for()
    assert train.is_enabled()


def test_who_leaves_while_a_run_begins_asks_for_it_no_more(server: Server, visit: Open) -> None:
    page = visit(f"{server.address}#train").page
    train = page.get_by_role("button", name="Train", exact=True)
    train.wait_for()
    page.route("**/train", lambda route: route.fulfill(json={"id": "0123456789ab", "running": True}))
    train.click()
    page.get_by_text("Reading the data").wait_for()
    page.get_by_role("link", name="Live").click()
    page.locator("article").wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1500)
    assert not [address for address in asked if address.endswith("/train")]
