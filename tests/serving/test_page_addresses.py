"""Addresses of the page: they name what they show, can be gone back from, and say so where nothing is there."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from test_live import wait_until
from test_page_live import choose, small

import equipoise
from browsing import Open, Serve, Server
from equipoise import Run
from equipoise.config.train_config import TrainConfig
from equipoise.runs.lock import sole_writer
from equipoise.serving.catalogue import id_of
from zygote import Zygote

LONG = "a-run-" + 190 * "x"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs, one of a long name, and a toy."""
    folder = tmp_path_factory.mktemp("addressed") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        first = equipoise.train(small(images=160), out=folder / "first", quiet=True)
        shutil.copytree(first.path, folder / LONG)
        toy = TrainConfig(data="ring8", images=512, batch=64, log_every=128, device="cpu")
        equipoise.train(toy, out=folder / "toy", quiet=True)
    return folder


@pytest.fixture(scope="module")
def server(runs: Path, serving: Serve) -> Server:
    return serving(runs)


def test_the_skip_link_leaves_the_view_as_it_is(runs: Path, server: Server, visit: Open) -> None:
    address = f"{server.address}#explore/{id_of(runs / 'first')}"
    page = visit(address).page
    page.locator(".wall img").nth(23).wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.wait_for_timeout(200)
    assert page.url == address
    assert page.locator(".wall img").count() == 24


def test_back_goes_to_the_run_before(server: Server, visit: Open) -> None:
    page = (opened := visit(server.address)).page
    choose(opened, "first")
    page.get_by_role("heading", name="first").wait_for()
    choose(opened, "toy")
    page.get_by_role("heading", name="toy").wait_for()
    page.go_back()
    page.get_by_role("heading", name="first").wait_for()
    assert page.get_by_role("heading", name="toy").count() == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("explore/{toy}", "has no generator of images"),
        ("explore/0123456789ab", "is not here"),
        ("live/0123456789ab", "is not here"),
    ],
)
def test_an_address_of_nothing_says_so(runs: Path, server: Server, visit: Open, address: str, said: str) -> None:
    address = address.format(toy=id_of(runs / "toy"))
    page = visit(f"{server.address}#{address}").page
    page.get_by_text(said).wait_for()
    assert page.url.endswith(address)
    assert page.locator("article, .wall img").count() == 0, "nothing else is shown in its place"


def test_a_run_that_comes_later_is_shown_at_its_address(
    tmp_path: Path, runs: Path, serving: Serve, visit: Open
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(runs / "toy", folder / "other")
    page = visit(f"{serving(folder).address}#live/{id_of(folder / 'new')}").page
    page.get_by_text("is not here").wait_for()
    shutil.copytree(runs / "first", folder / "new")
    page.get_by_role("heading", name="new").wait_for()


def test_several_that_come_later_are_shown_at_their_address(
    tmp_path: Path, runs: Path, serving: Serve, visit: Open
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    address = f"live/{id_of(folder / 'one')}+{id_of(folder / 'two')}"
    page = (opened := visit(f"{serving(folder).address}#{address}")).page
    page.get_by_text("2 runs of this address are not here").wait_for()
    for name in ("two", "one"):
        shutil.copytree(runs / "first", folder / name)
        page.get_by_role("heading", name=name, level=2).wait_for()
    names = "[...document.querySelectorAll('article h2')].map(name => name.textContent.split(' ')[0]).join()"
    opened.until(f"{names} === 'one,two'")
    assert page.url.endswith(address)


def test_a_long_name_makes_nothing_wider(runs: Path, server: Server, visit: Open) -> None:
    page = visit(server.address, viewport={"width": 1400, "height": 900}).page
    for view in (f"explore/{id_of(runs / 'first')}", f"explore/{id_of(runs / LONG)}", f"live/{id_of(runs / LONG)}"):
        page.goto(f"{server.address}#{view}")
        page.locator(".wall img, .chart .readout b").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1400, view


def test_the_printed_address_logs_in(zygote: Zygote, tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    """Whatever the token is made of."""
    server = serving(runs, "--token", "abcdefgh12345678%#&")
    printed = server.process.output.read_text().split("serving at ")[1].split()[0]
    opened = visit(printed)
    opened.expected.append("401 (Unauthorized)")
    opened.page.locator("article").wait_for()


def test_however_many_runs_are_watched_one_stream_has_them(
    tmp_path: Path, runs: Path, serving: Serve, visit: Open
) -> None:
    """A browser has six connections: two windows with three runs each would take them all."""
    names = ("one", "two", "three")
    for name in names:
        shutil.copytree(runs / "first", tmp_path / "runs" / name)
    server = serving(tmp_path / "runs")
    ids = "+".join(id_of(tmp_path / "runs" / name) for name in names)
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(sole_writer(tmp_path / "runs" / name))  # as a training has it
        page = (opened := visit(f"{server.address}#live/{ids}")).page
        opened.until("document.querySelectorAll('.chart .readout b').length > 2")
        for name in names:
            Run.open(tmp_path / "runs" / name).append("metrics.jsonl", {"images": 240, "kid": 0.125})
        told = "[...document.querySelectorAll('.scores dd b')].filter(score => score.textContent === '0.125')"
        opened.until(f"{told}.length === 3")
        # Each run that joined had a new stream in the place of the last, which the server hears of a moment later.
        wait_until(lambda: "equipoise_watchers 1.0" in page.request.get(f"{server.address}metrics").text())


def test_what_is_wrong_with_a_run_stands_first(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    folder = tmp_path / "runs" / "cut"
    shutil.copytree(runs / "first", folder)
    newest = Run.open(folder).checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    page = visit(serving(tmp_path / "runs").address).page
    page.locator(".finding.error").first.wait_for()
    assert "it is cut short" in page.locator(".health > *").first.inner_text()


def test_an_imported_generator_promises_no_training(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    run = Run.create(tmp_path / "runs" / "imported", small())
    tensors, facts, _ = Run.open(runs / "first").load_checkpoint()
    run.rewind(0)
    run.save_checkpoint(0, tensors, {**facts, "imported": True})
    page = visit(serving(tmp_path / "runs").address).page
    page.get_by_text("a generator from elsewhere").first.wait_for()
    assert not page.locator("progress").first.is_visible()
    assert not page.locator(".time, .pictures").first.is_visible()
    page.get_by_role("link", name="Explore this generator").click()
    page.locator(".wall img").nth(23).wait_for()


def test_a_measure_may_be_called_as_anything(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    for name in ("one", "two"):
        shutil.copytree(runs / "first", tmp_path / "runs" / name)
    Run.open(tmp_path / "runs" / "one").append("metrics.jsonl", {"images": 161, "constructor": 1.0, "__proto__": 2.0})
    ids = "+".join(id_of(tmp_path / "runs" / name) for name in ("one", "two"))
    page = visit(f"{serving(tmp_path / 'runs').address}#live/{ids}").page
    page.locator(".chart .readout b").first.wait_for()
    page.locator(".charts", has_text="Convergence").first.wait_for()
    page.get_by_text("More curves").click()
    page.locator(".chart", has_text="Constructor").wait_for()


def test_what_was_shown_and_is_not_any_more_is_said(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    folder = tmp_path / "runs"
    for name in ("one", "two", "three", "four"):
        shutil.copytree(runs / "first", folder / name)
    Run.open(folder / "one").samples()[-1].write_bytes(b"no picture")
    shutil.rmtree(folder / "two" / "samples")
    one, two = (id_of(folder / name) for name in ("one", "two"))
    opened = visit(f"{serving(folder).address}#live/{one}+{two}+0123456789ab")
    page, said = opened.page, opened.page.locator(".watching > [role=status]")
    opened.expected.append("404 (Not Found)")
    page.get_by_text("It wrote no samples.").wait_for()
    page.get_by_text("This picture cannot be read.").wait_for()
    assert "A run of this address is not here" in said.inner_text()
    page.get_by_label("three beside the others").check()
    assert said.inner_text() == ""
    page.get_by_label("four beside the others").check()
    assert "3 runs at most are shown beside each other: one made room" in said.inner_text()
    shutil.rmtree(folder / "three")
    page.get_by_text("three: deleted, or renamed.").wait_for()
    assert page.locator("article").count() == 2

    page.goto(f"{page.url.split('#')[0]}#explore/{one}")
    page.locator(".wall img").nth(23).wait_for()
    options = "[...document.querySelector('.settings select').options].map(option => option.text.split(' ')[0]).join()"
    assert page.evaluate(options) == "four,one,two"
    shutil.copytree(runs / "first", folder / "five")
    opened.until(f"{options} === 'four,one,two,five'")
    shutil.rmtree(folder / "one")
    page.get_by_text("one: deleted, or renamed. Choose another run.").wait_for()
    assert page.evaluate(options) == "Choose,four,two,five"


def test_a_run_low_in_a_long_list_is_shown_in_sight(tmp_path: Path, runs: Path, serving: Serve, visit: Open) -> None:
    folder = tmp_path / "runs"
    Run.create(folder / "empty", small()).append("metrics.jsonl", {"images": 0, "k": 0.0})
    for number in range(30):
        shutil.copytree(runs / "toy", folder / f"run-{number}")
    opened = visit(serving(folder).address, viewport={"width": 1400, "height": 700})
    page = opened.page
    page.locator("article").wait_for()
    assert page.locator("aside li").count() == 31
    places = (
        "[...new Set([...document.querySelectorAll('aside li')].map(item => item.getBoundingClientRect().x))].length"
    )
    assert page.evaluate(places) == 1, "a run that is empty stands among the others"
    choose(opened, "run-29")
    page.get_by_role("heading", name="run-29").wait_for()
    box = page.get_by_role("heading", name="run-29").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 700
