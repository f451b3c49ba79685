"""What the page is made of: files to read from top to bottom, and a library of charts that is what its notice says."""

import hashlib
import re
from pathlib import Path

import equipoise

PAGE = Path(equipoise.__file__).parent / "serving" / "page"
OWN = [path for path in PAGE.rglob("*") if path.is_file() and path.parent.name != "vendor"]


def test_the_library_is_the_one_that_was_published() -> None:
    notice = (PAGE / "vendor" / "NOTICE.txt").read_text()
    listed = dict(re.findall(r"sha256 of (\S+):\s+([0-9a-f]{64})", notice))
    code = [path for path in (PAGE / "vendor").iterdir() if path.suffix in (".js", ".css")]
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in code} == listed
    assert "MIT License" in (PAGE / "vendor" / "uPlot.LICENSE.txt").read_text()


def test_no_file_is_longer_than_300_lines_and_none_names_another_host() -> None:
    assert len(OWN) > 10
    for path in OWN:
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path.name
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text.replace("http://www.w3.org/2000/svg", ""))
        assert addresses == [], path.name


def test_every_module_that_is_imported_is_there_and_every_one_that_is_there_is_imported() -> None:
    named = {name for path in OWN for name in re.findall(r'"(?:\./)?([\w/.]+\.(?:js|css|svg))"', path.read_text())}
    there = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".svg")}
    assert named == there
