"""The live view in Chromium: runs as they train, side by side, and what is said when something is missing."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import equipoise
from browsing import Open, Serve, Server, Visit, train
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.networks import Autoencoder
from equipoise.runs.listing import read_status
from equipoise.runs.lock import sole_writer
from zygote import Zygote


def small(**changes: Any) -> TrainConfig:
    config = PRESETS["began"]["remedies"].with_changes(
        network=Autoencoder(width=4, latent=8),
        resolution=16,
        images=480,
        log_every=32,
        sample_every=160,
        checkpoint_every=160,
        keep=3,
        ema=100,
        precision="fp32",
        device="cpu",
    )
    return config.with_changes(**changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs, which differ in seed and learning rate."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        equipoise.train(small(), out=folder / "slow", quiet=True)
        equipoise.train(small(seed=1, lr=2e-4), out=folder / "fast", quiet=True)
    return folder


@pytest.fixture(scope="module")
def server(runs: Path, serving: Serve) -> Server:
    return serving(runs)


def choose(visit: Visit, name: str) -> None:
    visit.page.locator("aside button").filter(has=visit.page.get_by_text(name, exact=True)).click()


def test_an_empty_folder_says_what_to_do_and_then_follows_the_training(
    tmp_path: Path, zygote: Zygote, serving: Serve, visit: Open
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    opened = visit(serving(folder).address)
    page = opened.page
    page.get_by_role("heading", name="No run yet").wait_for()
    assert "equipoise train began" in page.inner_text("main")

    training = train(zygote, folder / "first", "--images", 40_000, "--log-every", 500, "--sample-every", 1000)
    try:
        page.get_by_role("heading", name="first").wait_for()
        page.get_by_text("training now").first.wait_for()
        opened.until("document.querySelector('.when').textContent.includes('the newest')")
        opened.until("Number(document.querySelector('.time input').max) >= 3")  # samples came by themselves
        images = "Number(document.querySelector('.run .state').textContent.match(/([\\d,]+) of/)[1].replace(/,/g, ''))"
        before = page.evaluate(images)
        opened.until(f"before => {images} > before", before)

        slider = page.locator(".time input")
        slider.fill("0")
        page.get_by_text("after 0 images").wait_for()
        assert page.locator(".frame img").first.evaluate("image => image.naturalWidth") > 100
        latest = page.evaluate("Number(document.querySelector('.time input').max)")
        opened.until("latest => Number(document.querySelector('.time input').max) > latest", latest)
        assert slider.input_value() == "0", "whoever looks at the past is left there"
        look_closer(opened)
        for measure in ("ℒ(x)", "ℒ(G(z))", "k", "M_global"):
            value = page.locator(".readout .key").filter(has_text=measure).first.inner_text()
            assert float(value.split()[-1].replace(",", "")) >= 0
    finally:
        training.kill(signal.SIGTERM)
        training.wait()
    page.get_by_text("interrupted").first.wait_for()
    equipoise.train(small(images=160), out=folder / "second", quiet=True)
    page.get_by_role("heading", name="second").wait_for()
    assert page.locator("article").count() == 1, "it follows the newest"


def look_closer(opened: Visit) -> None:
    """Drag over a curve: what is looked at stays, and what is read there, as more lines come."""
    page, mouse = opened.page, opened.page.mouse
    page.locator(".u-over").first.scroll_into_view_if_needed()
    box = page.locator(".u-over").first.bounding_box()
    assert box is not None
    across = lambda share: (box["x"] + share * box["width"], box["y"] + box["height"] / 2)  # noqa: E731
    mouse.move(*across(0.2))
    mouse.down()
    mouse.move(*across(0.5), steps=4)
    mouse.up()
    mouse.move(*across(0.9))
    read = "document.querySelector('.readout small').textContent"
    opened.until(f"{read}.includes('after')")
    before, rows = page.evaluate(read), "document.querySelector('.run .state').textContent"
    state = page.evaluate(rows)
    opened.until(f"before => {rows} !== before", state)
    page.wait_for_timeout(200)
    assert page.evaluate(read) == before
    mouse.move(*across(0.91))
    mouse.move(*across(0.9))
    page.wait_for_timeout(200)
    assert page.evaluate(read) == before
    mouse.move(0, 0)  # the last values are read again


def test_two_runs_beside_each_other(server: Server, visit: Open) -> None:
    page = (opened := visit(server.address)).page
    choose(opened, "slow")
    page.get_by_label("fast beside the others").check()
    assert page.locator("article").count() == 2
    table = page.locator(".difference table").filter(has_text="Settings")
    table.wait_for()
    assert [cell.strip() for cell in table.locator("thead th").all_inner_texts()] == ["What", "slow", "fast"]
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()
    }
    assert rows["seed"] == ["0", "1"]
    assert "lr" in rows
    keys = page.locator(".readout").filter(has_text="M_global").locator(".key")
    keys.nth(1).wait_for()
    assert [key.get_attribute("class").split()[1] for key in keys.all()] == ["run-1", "run-2"]
    address = page.url
    page.reload()
    page.locator("article").nth(1).wait_for()
    assert page.url == address, "an address names what it shows"
    page.set_viewport_size({"width": 360, "height": 700})
    table.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_label("fast beside the others").uncheck()
    assert page.locator("article h2").all_inner_texts()[0].startswith("slow")
    assert page.locator("article").count() == 1


def test_terms_explain_themselves(server: Server, visit: Open) -> None:
    page = (opened := visit(server.address)).page
    term = page.locator(".chart summary").filter(has_text="Convergence")
    term.click()
    assert "balance" in term.locator("..").locator("p").inner_text()
    real = page.locator(".pictures figure").nth(1).locator("img")
    opened.until("document.querySelectorAll('.pictures img')[1].naturalWidth > 100")
    assert real.is_visible(), "real images beside the generated ones"


def test_health_is_in_words_with_its_remedy(tmp_path: Path, serving: Serve, visit: Open) -> None:
    run = equipoise.train(small(images=160), out=tmp_path / "runs" / "ill", quiet=True)
    told = {"message": "all of it", "evidence": "the samples are alike", "remedy": "lower --lr"}
    server = serving(tmp_path / "runs")
    page = visit(server.address).page
    page.locator(".health :is(p, summary)").first.wait_for()
    run.append("events.jsonl", {"images": 160, "level": "warning", "kind": "collapse", **told})
    finding = page.locator(".finding").filter(has_text="collapse")
    finding.wait_for()
    finding.evaluate("details => (details.open = true)")  # where there are several, each is a line that opens
    assert "Warning: collapse" in finding.inner_text()
    assert "What to do: lower --lr" in finding.inner_text()

    hidden = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hidden, True)  # as a tab that nobody sees, which lets go of its streams
    run.append("events.jsonl", {"images": 160, "level": "warning", "kind": "grain", "message": "they are grainy"})
    page.evaluate(hidden, False)
    page.locator(".finding").filter(has_text="grain").first.wait_for()


def test_a_server_that_goes_and_comes_back(runs: Path, serving: Serve, visit: Open) -> None:
    server = serving(runs)
    page = (opened := visit(server.address)).page
    opened.expected.append("ERR_")  # connections that are refused
    page.locator("article").wait_for()
    server.end(signal.SIGKILL)
    notice = page.get_by_text("The server is gone")
    notice.wait_for()
    assert page.locator("article").is_visible(), "its last word stays"
    serving(runs, port=server.port)
    notice.wait_for(state="detached")
    page.locator("article").wait_for()


def test_views_opened_while_the_server_is_gone_open_once_it_is_back(runs: Path, serving: Serve, visit: Open) -> None:
    server = serving(runs)
    page = (opened := visit(server.address)).page
    opened.expected.append("ERR_")
    page.locator("article").wait_for()
    notice = page.get_by_text("The server is gone")

    def while_it_is_gone(do: Callable[[], object]) -> None:
        server.end(signal.SIGKILL)
        notice.wait_for()
        do()
        page.wait_for_timeout(200)
        assert "does not answer" not in page.inner_text("main")
        server.__dict__ = serving(runs, port=server.port).__dict__
        notice.wait_for(state="detached")

    def reload_a_card() -> None:
        choose(opened, "slow")
        choose(opened, "fast")

    while_it_is_gone(reload_a_card)
    page.locator(".chart canvas").first.wait_for()
    while_it_is_gone(page.get_by_role("link", name="GAN Lab").click)
    page.get_by_role("button", name="Run both").wait_for()
    while_it_is_gone(page.get_by_role("link", name="Explorer").click)
    page.locator(".sliders label").first.wait_for()

    for name in "AB":  # of a view that is healthy, nothing is lost
        page.get_by_role("button", name=f"Pin {name}").click()
    slider = page.locator(".sliders input[type=range]").first
    shown = page.locator("img.shown").evaluate("image => image.src")
    while_it_is_gone(lambda: slider.fill("0.5"))
    opened.until("before => document.querySelector('img.shown').src !== before", shown)  # as the slider says by now
    assert slider.input_value() == "0.5"
    assert page.get_by_text("pinned").count() == 2


@pytest.fixture
def short_lived(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> tuple[Visit, Path]:
    """A page that shows a run, and the folder of that run, which is to be deleted and then not found."""
    folder = tmp_path / "runs" / "short-lived"
    shutil.copytree(runs / "slow", folder)
    opened = visit(serving(tmp_path / "runs").address)
    opened.page.get_by_role("heading", name="short-lived").wait_for()
    opened.expected.append("404 (Not Found)")  # what is asked for as it goes
    return opened, folder


def delete_before(page: Any, pattern: str, folder: Path) -> None:
    """Delete a folder when the page asks for an address, before the server hears of it."""

    def delete_first(route: Any) -> None:
        if folder.exists():
            shutil.rmtree(folder)
        route.continue_()

    page.route(pattern, delete_first)


def test_a_run_that_is_deleted_while_it_is_watched(short_lived: tuple[Visit, Path]) -> None:
    opened, folder = short_lived
    shutil.rmtree(folder)
    opened.page.get_by_role("heading", name="No run yet").wait_for()


def test_a_run_that_is_deleted_before_the_folder_is_followed(short_lived: tuple[Visit, Path]) -> None:
    """After the list of runs was read, and before the stream begins that says what has gone."""
    opened, folder = short_lived
    delete_before(opened.page, "**/live*", folder)
    opened.page.reload()
    opened.page.get_by_role("heading", name="No run yet").wait_for()
    assert not folder.exists(), "the page followed the folder"


def test_a_run_that_is_deleted_while_it_is_read_anew(short_lived: tuple[Visit, Path]) -> None:
    """Its files are cut short first, which the page takes for a run that went back, and asks for all of it."""
    opened, folder = short_lived
    with sole_writer(folder):  # as a training has it: else the page follows no files
        opened.page.get_by_text("training now").first.wait_for()
        opened.page.locator(".chart .readout b").first.wait_for()  # it has read all once
        delete_before(opened.page, "**/metrics?points=*", folder)
        with opened.page.expect_response("**/metrics?points=*") as response:
            (folder / "metrics.jsonl").write_text("")
        assert response.value.status == 404
    opened.page.get_by_role("heading", name="No run yet").wait_for()


def test_a_run_that_is_deleted_while_the_list_is_on_its_way(short_lived: tuple[Visit, Path]) -> None:
    """A list that still has it comes after the word that it has gone, and is not the last."""
    opened, folder = short_lived
    held: list[tuple[Any, Any]] = []
    opened.page.route("**/api/v1/runs", lambda route: held.append((route, route.fetch())), times=1)
    opened.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as a tab that is looked at again
    while not held:
        opened.page.wait_for_timeout(10)
    shutil.rmtree(folder)
    opened.page.get_by_role("heading", name="No run yet").wait_for()
    route, answer = held.pop()
    with opened.page.expect_request("**/live*"):
        route.fulfill(response=answer)
    opened.page.get_by_role("heading", name="Runs (0)", include_hidden=True).wait_for(state="attached")
    opened.page.get_by_role("heading", name="No run yet").wait_for()


def test_a_run_that_cannot_be_read_says_why_and_promises_nothing(
    tmp_path: Path, runs: Path, serving: Serve, visit: Open
) -> None:
    shutil.copytree(runs / "slow", tmp_path / "runs" / "broken")
    (tmp_path / "runs" / "broken" / "config.yaml").write_text("nonsense: 1\n")
    page = (opened := visit(serving(tmp_path / "runs").address)).page
    opened.expected.append("400 (Bad Request)")
    page.get_by_text("unknown key 'nonsense'").wait_for()
    assert page.locator("aside li button").inner_text().split("\n") == ["broken", "unreadable · see why"]
    assert page.locator("article header").inner_text().split("\n")[-1] == "unreadable"
    assert not page.locator(".pictures").is_visible()
    assert not page.locator(".time").is_visible()


def test_who_leaves_is_not_called_back(runs: Path, serving: Serve, visit: Open) -> None:
    """The view that is left writes its address no more: the next would never open."""
    page = visit(serving(runs).address).page
    page.locator("article").wait_for()
    leave = """() => {
      location.hash = "#lab"; // told to the page after this, as a click on a link is
      document.querySelector("aside button:not([aria-current])").click();
    }"""
    page.evaluate(leave)
    page.get_by_role("heading", name="GAN Lab").wait_for()
    assert page.url.endswith("#lab")


def test_a_server_with_a_token_asks_for_it(runs: Path, serving: Serve, visit: Open) -> None:
    token = "a-token-of-many-letters"
    page = (opened := visit(serving(runs, "--token", token).address)).page
    opened.expected.append("401 (Unauthorized)")
    page.get_by_label("Token").fill("another-token-altogether")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("not the token").wait_for()
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")
    page.locator("article").wait_for()
    assert token not in page.url
    assert not [cookie for cookie in opened.context.cookies() if not cookie["httpOnly"]]
    page.reload()
    page.locator("article").wait_for()


def test_a_run_is_started_watched_and_stopped(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    page = visit(serving(runs).address).page
    page.get_by_role("heading", level=2).first.wait_for()
    assert page.get_by_role("link", name="New run").count() == 0, "nothing is started unless that is allowed"

    folder = tmp_path / "runs"
    folder.mkdir()
    page = (opened := visit(serving(folder, "--allow-train").address)).page
    page.get_by_role("link", name="New run").click()
    data = page.get_by_label("Images")
    assert "ring8" not in data.inner_text(), "points are trained in the GAN Lab"
    data.select_option("digits")
    minutes = page.get_by_label("Minutes")
    assert "at most 60" in page.inner_text("form")
    assert "one at a time" in page.inner_text("form")
    minutes.fill("61")
    page.get_by_role("button", name="Train").click()
    assert minutes.evaluate("field => field.validity.rangeOverflow"), "the browser says what is too much"
    assert not list(folder.iterdir())
    minutes.fill("30")
    page.get_by_label("Size in pixels").fill("16")
    assert opened.serious() == []
    page.get_by_role("button", name="Train").click()
    page.get_by_role("heading", name="began-digits-001").wait_for()
    assert "#live/" in page.url
    page.get_by_text("training now").first.wait_for()

    page.get_by_role("link", name="New run").click()
    page.get_by_text("is training").wait_for()
    assert page.get_by_role("button", name="Train").count() == 0
    page.get_by_role("button", name="Stop it").click()
    page.get_by_role("button", name="Train").wait_for()
    assert read_status(folder / "began-digits-001").state in ("interrupted", "empty")  # as soon as it had a checkpoint
