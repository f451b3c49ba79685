import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import numpy as np
import pytest

from equipoise.data import open_images
from equipoise.data.decode import Pixels
from equipoise.data.sources import find_source
from equipoise.data.sources.faces import FREE, STYLES, Options, _parse_options
from equipoise.errors import UsageError

dicebear = pytest.importorskip("dicebear")
pytest.importorskip("resvg_py")


def drawn(name: str, count: int) -> list[Pixels]:
    with find_source(name).contents() as contents:
        return [np.asarray(contents.read(index)) for index in range(count)]


@pytest.mark.parametrize(
    "style", [style if index < 2 else pytest.param(style, marks=pytest.mark.long) for index, style in enumerate(STYLES)]
)
def test_every_style_is_free_and_draws_faces_that_differ(style: str) -> None:
    definition = json.loads(files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8"))
    assert definition["meta"]["license"]["name"] == FREE
    options = dicebear.OptionsDescriptor(dicebear.Style(definition)).to_json()
    assert set(STYLES[style]) <= set(options)  # nothing is asked of it that it does not know
    faces = drawn(f"faces:style={style}", 8)
    assert {(face.shape, face.dtype.name) for face in faces} == {((64, 64, 3), "uint8")}
    assert len({face.tobytes() for face in faces}) == 8
    assert all(len(np.unique(face.reshape(-1, 3), axis=0)) > 4 for face in faces)  # none is blank
    assert any((face[..., 0] != face[..., 2]).any() for face in faces)


def test_a_face_is_a_function_of_its_seed_and_number() -> None:
    few, many = drawn("faces:count=5", 5), drawn("faces:seed=0,count=20", 20)
    for face, same in zip(few, many, strict=False):
        np.testing.assert_array_equal(face, same)
    others = drawn("faces:seed=1", 20)
    assert not {face.tobytes() for face in many} & {face.tobytes() for face in others}
    with find_source("faces").contents() as contents, ThreadPoolExecutor(8) as pool:
        assert len(contents.names) == 10_000
        for face, same in zip(many, pool.map(contents.read, range(20)), strict=True):
            np.testing.assert_array_equal(face, same)


def test_faces_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_images("faces:count=10", 64)
    np.testing.assert_array_equal(images.pixels, np.stack(drawn("faces", 10)).transpose(0, 3, 1, 2))
    assert images.labels is None
    monkeypatch.setattr(sys.modules["equipoise.data.sources.faces"], "_drawer", None)
    assert open_images("faces:count=10", 64).fingerprint == images.fingerprint
    with pytest.raises(TypeError):
        open_images("faces:count=10,seed=1", 64)
    with pytest.raises(TypeError):
        open_images("faces:count=10,style=moods", 64)


def test_size() -> None:
    assert drawn("faces:size=128", 1)[0].shape == (128, 128, 3)


def test_options() -> None:
    assert _parse_options("") == Options(count=10_000, seed=0, style="lorelei", size=64)
    assert _parse_options("count=20000, seed=7,style=moods") == Options(count=20_000, seed=7, style="moods")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("faces:", None),
        ("faces:number=5", "'number=5' is no option of faces: give count, seed, style, size, as in"),
        ("faces:count", "'count' is no option of faces"),
        ("faces:seed=1,seed=2", "'seed=2' is no option of faces"),
        ("faces:count=0", "the count of faces must be a whole number from 1 to 10000000, not '0'"),
        ("faces:count=1e4", "not '1e4'"),
        ("faces:count=99999999999", "not '99999999999'"),
        ("faces:seed=-1", "the seed of faces must be a whole number from 0 "),
        ("faces:size=4", "the size of faces must be a whole number from 16 to 1024"),
        ("faces:style=adventurer", "'adventurer' is none of the styles of faces that are free .* take lorelei"),
        ("face", "did you mean 'faces'?"),
    ],
)
def test_what_cannot_be_drawn(name: str, message: str | None) -> None:
    if message is None:
        assert find_source(name).name == name
        return
    with pytest.raises(UsageError, match=message):
        find_source(name)


def test_a_style_that_is_no_longer_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STYLES, "adventurer", {})
    with pytest.raises(UsageError, match="'adventurer' is under CC BY 4.0"):
        drawn("faces:style=adventurer", 1)


@pytest.mark.parametrize("module", ["dicebear", "dicebear_styles", "resvg_py"])
def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"'faces' needs the package {module}: .*'equipoise\[faces\]'"):
        find_source("faces")
