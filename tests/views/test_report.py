"""The report of a run folder, whatever is in it."""

import base64
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from equipoise.views.figures import grid
from equipoise.views.report import MAX_PICTURES, draw_curves, read_summary, write_report

NASTY = '<script src="x">'


class Page(HTMLParser):
    """Tags, their attributes and all text outside scripts and styles."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def picture(path, number=0):
    grid(np.full((4, 1, 8, 8), number % 256, np.uint8), scale=1).save(path)


def make_run(path):
    """A run of 40,000 of 100,000 images."""
    samples = path / "samples"
    samples.mkdir()
    rows = []
    for images in range(1000, 41_000, 1000):
        real, fake = 0.1 + 100 / images, 0.05
        rows.append({"images": images, "lr": 1e-4, "energy_real": real, "energy_fake": fake, "k": 0.1})
        rows[-1] |= {"m_global": real + 0.01, "balance": fake / real, "pulling_away": 0.3}
        rows.append({"images": images, "diversity": 0.9})
        picture(samples / f"{images:012d}.png", images // 1000)
    lines = [json.dumps(row) for row in rows]
    (path / "metrics.jsonl").write_text("\n".join([*lines, '{"images": 41000, "lr"']))
    events = [
        {"images": 3000, "level": "info", "kind": "resumed", "message": "resumed at 3,000 images"},
        {"images": 9000, "level": "warning", "kind": "k-at-0", "message": f"k sits at 0: {NASTY}"},
    ]
    (path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"ima')
    (path / "config.yaml").write_text(
        f"objective: {{name: began, gamma: 0.5}}\ndata: '{NASTY}'\nresolution: 32\nimages: 100000\n"
        "made_with: {equipoise: 0.1.0, torch: 2.9.9}\n"
    )
    return path


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(write_report(make_run(tmp_path_factory.mktemp("run"))))


def test_a_summary_reads_what_is_there_and_passes_over_a_half_written_line(folder):
    summary = read_summary(folder)
    assert (summary.images, summary.config.images, summary.gamma) == (40_000, 100_000, 0.5)
    assert summary.measures["lr"].images[-1] == 40_000
    assert len(summary.measures["k"].values) == len(summary.measures["diversity"].values) == 40
    assert [event.kind for event in summary.events] == ["resumed", "k-at-0"]
    assert len(summary.pictures) == 40


@pytest.mark.parametrize(("resolution", "size"), [("32", "32×32"), ("16x48", "16×48"), ("'16x48'", "16×48")])
def test_the_title_says_width_and_height(tmp_path, resolution, size):
    (tmp_path / "config.yaml").write_text(f"objective: began\ndata: photos\nresolution: {resolution}\n")
    assert read_summary(tmp_path).title == f"BEGAN on photos, {size}"


def test_what_was_measured_twice_counts_once_and_what_is_not_finite_not_at_all(tmp_path):
    rows = [{"images": 2, "k": 1.0}, {"images": 1, "k": 0.5}, {"images": 2, "k": 0.25, "m": float("nan")}, [], {"k": 3}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    measures = read_summary(tmp_path).measures
    assert list(measures) == ["k"]
    np.testing.assert_array_equal(measures["k"], [[1, 2], [0.5, 0.25]])


def test_curves_are_a_picture_wide_enough_to_read(folder):
    path = draw_curves(folder)
    assert path == folder / "curves.png"
    with Image.open(path) as drawn:
        assert drawn.width == 1800
        assert len(drawn.convert("RGB").getcolors(maxcolors=1 << 20)) > 20


def test_the_report_stands_alone_and_escapes_what_users_wrote(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object"), tag
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset"):
            assert attributes.get(name, "data:image/png;base64,").startswith("data:image/png;base64,")
    assert len(page.all("script")) == 1  # our own: NASTY is text
    assert page.text.count(NASTY) == 4  # title, heading, health, configuration


def test_the_report_says_how_the_run_is(page):
    for words in ("40,000 of 100,000 images", "40 %", "1 warning.", "k sits at 0", "boundary: γ = 0.5", "0.1125"):
        assert words in page.text
    assert "torch 2.9.9" in page.text
    assert page.all("progress") == [{"max": "100000", "value": "40000"}]


def test_the_pictures_are_bounded_and_reach_from_first_to_last(page):
    samples = [image for image in page.all("img") if image["alt"].startswith("Samples")]
    assert len(samples) == MAX_PICTURES
    assert samples[0]["alt"].endswith("after 1,000 images")
    assert samples[-1]["alt"].endswith("after 40,000 images")
    assert [("hidden" in figure) for figure in page.all("figure")] == [True] * (MAX_PICTURES - 1) + [False]
    assert page.all("input")[0]["max"] == str(MAX_PICTURES - 1)
    content = base64.b64decode(samples[-1]["src"].split(",")[1])
    with Image.open(io.BytesIO(content)) as last:
        assert last.convert("L").getpixel((0, 0)) == 40


def test_other_pictures_are_passed_over(folder):
    samples = folder / "samples"
    picture(samples / "holiday-000000040000.png")
    picture(samples / "000000040000 copy.png")
    os.mkfifo(samples / "000000060000.png")  # which would never be read to its end
    (samples / "000000050000.png").write_bytes((samples / "000000040000.png").read_bytes()[:50])
    page = Page(write_report(folder))
    assert "holiday" not in page.text.lower()
    assert not any("after 50,000" in image["alt"] for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))


@pytest.mark.parametrize("content", [None, "", "\x00\xff{]", "- a\n- b\n", "objective: [1]\nimages: many\n"])
def test_a_run_that_has_only_just_begun_has_a_report(tmp_path, content):
    if content is not None:
        (tmp_path / "samples").mkdir()
        for name in ("config.yaml", "metrics.jsonl", "events.jsonl", "samples/000000000001.png"):
            (tmp_path / name).write_text(content)
    page = Page(write_report(tmp_path))
    for words in ("No warnings.", "Nothing measured yet.", "None yet."):
        assert words in page.text
    with Image.open(draw_curves(tmp_path)) as drawn:
        assert drawn.width == 1800


def test_writing_leaves_nothing_else_behind_and_works_in_threads(folder):
    before = {path.name for path in folder.iterdir()}
    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(write_report, [folder] * 2))) == 1
    assert {path.name for path in folder.iterdir()} == before | {"curves.png", "report.html"}


def test_a_write_that_fails_leaves_the_old_report(folder, monkeypatch):
    (folder / "report.html").write_text("the old one")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "the old one"
    assert not list(folder.glob(".*"))
