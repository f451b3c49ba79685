"""The live view in Chromium as files do more than grow: resumed, replaced, gone back, broken amidst."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_page_live import small

import equipoise
from browsing import Open, Serve, Visit
from equipoise import Run
from equipoise.runs.lock import sole_writer
from equipoise.serving.catalogue import id_of

PIXELS = """() => {
  const image = document.querySelector(".frame img");
  if (!image?.complete || !image.naturalWidth) return "";
  const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
  canvas.getContext("2d").drawImage(image, 0, 0, 40, 40);
  return canvas.toDataURL();
}"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two runs, which differ in seed."""
    folder = tmp_path_factory.mktemp("followed") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return {
            "a": equipoise.train(small(images=160), out=folder / "a", quiet=True),
            "b": equipoise.train(small(images=160, seed=7, lr=2e-4), out=folder / "b", quiet=True),
        }


@pytest.fixture
def folder(tmp_path: Path, trained: dict[str, Run]) -> Path:
    shutil.copytree(trained["a"].path, tmp_path / "runs" / "one")
    return tmp_path / "runs"


def opened(folder: Path, serving: Serve, visit: Open, *names: str) -> Visit:
    ids = "+".join(id_of(folder / name) for name in names)
    found = visit(f"{serving(folder).address}#live/{ids}" if names else serving(folder).address)
    found.until(f"({PIXELS})() !== ''")
    return found


def test_the_newest_is_followed_though_it_is_resumed(folder: Path, serving: Serve, visit: Open) -> None:
    shutil.copytree(folder / "one", folder / "two")
    (folder / "two" / "config.yaml").touch()
    page = opened(folder, serving, visit).page
    page.get_by_role("heading", name="two", level=2).wait_for()
    with sole_writer(folder / "one"):  # as a training has it
        page.get_by_role("heading", name="one", level=2).wait_for()
        assert page.locator("article").count() == 1
        assert page.get_by_label("Follow the newest").is_checked()


def test_a_run_that_is_replaced_is_shown_as_what_it_is(
    folder: Path, trained: dict[str, Run], serving: Serve, visit: Open
) -> None:
    """Within a moment, so that it is never seen to be gone; and another run's pictures stand at the same addresses."""
    Run.open(folder / "one").append("metrics.jsonl", {"images": 160, "kid": 0.125})
    page = (found := opened(folder, serving, visit, "one")).page
    page.locator(".scores", has_text="0.125").wait_for()
    page.wait_for_timeout(300)  # it is followed
    found.until("document.querySelectorAll('.frame img')[1].naturalWidth > 0")
    before = page.evaluate(PIXELS)
    shutil.copytree(trained["b"].path, folder.parent / "other")
    with page.expect_response("**/real.png*") as real:
        (folder / "one").rename(folder.parent / "old")
        (folder.parent / "other").rename(folder / "one")
    assert real.value.status in (200, 503)
    found.until(f"before => ![before, ''].includes(({PIXELS})())", before)
    assert "0.125" not in page.inner_text(".scores")
    rows = [row["k"] for row in Run.open(folder / "one").rows() if "k" in row]
    k = page.locator(".readout .key").filter(has_text="k").first
    assert float(k.inner_text().split()[-1]) == pytest.approx(rows[-1], rel=0.01)


def test_a_grid_that_is_written_anew_is_shown(
    folder: Path, trained: dict[str, Run], serving: Serve, visit: Open
) -> None:
    """A run that goes back to a checkpoint makes the samples after it once more."""
    page = (found := opened(folder, serving, visit, "one")).page
    before = page.evaluate(PIXELS)
    run = Run.open(folder / "one")
    with sole_writer(run.path):
        run.rewind(0)
        page.get_by_text("after 0 images").first.wait_for()
        shutil.copyfile(trained["b"].samples()[-1], run.path / "samples" / trained["b"].samples()[-1].name)
        found.until(f"before => ![before, ''].includes(({PIXELS})())", before)
        page.get_by_text("after 160 images").first.wait_for()
        found.until(f"before => ![before, ''].includes(({PIXELS})())", before)


def test_rows_that_come_again_are_there_once(folder: Path, serving: Serve, visit: Open) -> None:
    """A connection breaks amidst what was read together, of which the last row alone has a place."""
    run, run_id = Run.open(folder / "one"), id_of(folder / "one")
    rows = [{"images": 160 + number, "k": number / 8} for number in range(1, 9)]
    lot = "".join(f"event: {run_id}/metrics\ndata: {json.dumps(row)}\n\n" for row in rows[:5])
    server = serving(folder)
    page = (found := visit(server.address)).page

    def broken(route: Any) -> None:
        for row in rows:
            run.append("metrics.jsonl", row)
        route.fulfill(status=200, headers={"Content-Type": "text/event-stream"}, body=f"retry: 100\n\n{lot}")

    page.route(f"**/live?runs={run_id}*", broken, times=1)
    page.evaluate("""() => {
      window.drawn = [];
      window.uPlot = new Proxy(uPlot, { construct(Made, args) {
        const chart = new Made(...args);
        const set = chart.setData;
        chart.setData = (data, ...others) => (window.drawn.push(data[0]), set.call(chart, data, ...others));
        return chart;
      } });
    }""")
    page.get_by_role("link", name="GAN Lab").click()
    page.get_by_role("link", name="Live").click()
    found.until("(window.drawn.at(-1) ?? []).at(-1) === 168")
    images = page.evaluate("window.drawn.at(-1)")
    assert images == sorted(set(images))
    assert images[-8:] == [row["images"] for row in rows]


def test_a_run_whose_files_are_mended_is_shown(folder: Path, serving: Serve, visit: Open) -> None:
    config = folder / "one" / "config.yaml"
    text = config.read_text()
    config.write_text("nonsense: 1\n")
    page = (found := visit(serving(folder).address)).page
    found.expected.append("400 (Bad Request)")
    page.get_by_text("unknown key 'nonsense'").first.wait_for()
    config.write_text(text)
    found.until(f"({PIXELS})() !== ''")
    assert page.locator(".pictures").is_visible()
    assert "nonsense" not in page.inner_text("article")
