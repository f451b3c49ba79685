import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from unprivileged import as_nobody

import equipoise.data
from equipoise.data import BUNDLED, open_images
from equipoise.data.sources import find_source
from equipoise.errors import UsageError

NOTICE = Path(equipoise.data.__file__).with_name("NOTICE").read_text()


@pytest.fixture
def public() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_the_digits_are_those_of_the_notice() -> None:
    (path,) = BUNDLED.values()
    with np.load(path, allow_pickle=False) as arrays:
        digests = [hashlib.sha256(data).hexdigest() for data in (path.read_bytes(), arrays["images"], arrays["labels"])]
        assert arrays["images"].shape == (5000, 28, 28)
    assert all(digest in NOTICE for digest in digests)
    assert digests[0] == "246e0c30eeea57c8d0037d3f38c8e00651ec204cc61b8022563e9aeeb9d756f4"
    assert "CC BY-SA 3.0" in NOTICE


def test_the_digits_are_padded_when_slightly_small_and_resized_when_not() -> None:
    with np.load(BUNDLED["digits"], allow_pickle=False) as arrays:
        originals, labels = arrays["images"], arrays["labels"]
    for resolution, margin in [(28, 0), (30, 1), (32, 2)]:
        images = open_images("digits", resolution)
        assert images.shape == (1, resolution, resolution)
        inner = images.pixels[:, 0, margin : margin + 28, margin : margin + 28]
        np.testing.assert_array_equal(inner, originals)
        assert images.pixels.sum(dtype=np.int64) == originals.sum(dtype=np.int64)  # black around them
        assert images.labels is not None
        np.testing.assert_array_equal(images.labels, labels)
    for resolution in (14, 33):
        assert open_images("digits", resolution).pixels[:, 0, :2].any()


def test_names_that_mean_nothing_get_the_nearest() -> None:
    with pytest.raises(UsageError, match="named 'digit': did you mean 'digits'"):
        find_source("digit")
    with pytest.raises(UsageError, match="named '/no/where': check the path, or take the bundled 'digits'"):
        find_source("/no/where")
    with pytest.raises(UsageError, match="named ''"):
        find_source("")
    with pytest.raises(UsageError, match="named '~nosuchuser/images'"):
        find_source("~nosuchuser/images")


def test_a_folder_may_be_named_like_bundled_data(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(save("digits/a.png").parents[1])
    assert find_source("digits").identity[0] == "npz on black"
    assert find_source("./digits").identity[0] == "folder"
    assert find_source(Path("digits")).identity[0] == "folder"


@pytest.mark.parametrize("name", ["a.txt", "a", "a.rar"])
def test_unknown_kinds_of_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("something")
    with pytest.raises(UsageError, match=f"{re.escape(name)} is of no known kind: give a folder of images, a .zip"):
        find_source(tmp_path / name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe is of no known kind"):
        find_source(tmp_path / "pipe")


def test_what_may_not_be_read_is_said(public: Path, save: Callable[..., Path]) -> None:
    image = save("a.png")
    closed = public / "closed"
    closed.mkdir()
    for name in ("a.zip", "a.npz"):
        (public / name).write_bytes(b"PK")
        (public / name).chmod(0)
        assert f"no permission to read {public / name}" in as_nobody(lambda name=name: find_source(public / name))
    shutil.copy(image, closed)
    closed.chmod(0)
    assert f"no permission to read {closed}" in as_nobody(lambda: find_source(closed))
    assert f"no permission to read {closed}" in as_nobody(lambda: find_source(closed / "below"))
    assert f"no permission to read {closed}" in as_nobody(lambda: find_source(public))


def test_an_image_that_may_not_be_read_is_skipped(public: Path, folder: Path) -> None:
    shutil.copytree(folder, public / "images")
    (public / "images" / "3.png").chmod(0)
    (public / "cache").mkdir()
    (public / "cache").chmod(0o777)
    report: list[object] = []

    def pack() -> None:
        report.extend(open_images(public / "images", 8, cache=public / "cache").skipped)
        raise UsageError(str(report))

    assert as_nobody(pack) == "[('3.png', 'Permission denied')]"


def test_a_cache_that_may_not_be_written_is_said(public: Path) -> None:
    message = as_nobody(lambda: open_images("digits", 8, cache=public / "below"))
    told = (
        f"cannot write to the cache folder {public / 'below'}: Permission denied; set EQUIPOISE_CACHE to another folder"
    )
    assert message == told


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("ring8", "ring8 is a toy, of points and not of images: `equipoise train` and `evaluate` know it"),
        ("a.png", "is a single image: give the folder that holds it and others"),
        ("x" * 100_000, "cannot read .*: File name too long; check the path"),
    ],
)
def test_what_is_no_set_of_images_is_told_as_what_it_is(
    data: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match=told) as error:
        find_source(data)
    assert len(str(error.value)) < 300
