"""The samples of a shard, by the convention of WebDataset: files in a row whose names agree up to the first dot."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from equipoise.data.shards.tar import Member, Tar
from equipoise.data.sources.files import MAX_FILE_BYTES, is_image

NAME = re.compile(r"((?:.*/|)[^./][^.]*)\.([^/]*)", re.DOTALL)  # a key, the first dot, a suffix
META = re.compile(r"(?:.*/)?__[^/]*__(?:/.*)?", re.DOTALL)  # WebDataset's own files
MAX_LABEL_BYTES = 2**20  # of a .cls or .json
LABELS = ("cls", "json")  # the first that holds a label counts


@dataclass
class Sample:
    """One image of a shard as it is stored, and where it lies.

    Attributes:
        name: of the image in the archive.
        member: its place in the archive, unpacked.
        image: the file's bytes; b"" where it is too large, or where only places are wanted.
        label: its class number, or None.
        shard: the number of its shard, once that is known.
    """

    name: str
    member: Member
    image: bytes
    label: int | None = None
    shard: int = 0


def read_samples(tar: Tar, *, images: bool = True) -> Iterator[Sample]:
    """Samples of a shard that have an image, with its bytes unless `images` is False.

    The first image of a sample counts. A name that comes again begins a new sample, so that nothing is lost.
    """
    key: str | None = None
    sample: Sample | None = None
    labels: dict[str, int] = {}
    for member in tar.members():
        match = NAME.fullmatch(member.name)
        if match is None or META.fullmatch(member.name):
            continue
        suffix = match[2].lower()
        if match[1] != key or (sample is not None and sample.name == member.name):
            # Labels may stand before or after the image, so a sample is whole only where the next one begins.
            if sample is not None:
                yield _with_label(sample, labels)
            key, sample, labels = match[1], None, {}
        if sample is None and is_image(member.name):
            fits = images and member.size <= MAX_FILE_BYTES
            sample = Sample(member.name, member, tar.read(member) if fits else b"")
        elif suffix in LABELS and member.size <= MAX_LABEL_BYTES:
            label = _parse_label(tar.read(member), suffix)
            if label is not None:
                labels[suffix] = label
    if sample is not None:
        yield _with_label(sample, labels)


def _with_label(sample: Sample, labels: dict[str, int]) -> Sample:
    sample.label = next((labels[suffix] for suffix in LABELS if suffix in labels), None)
    return sample


def _parse_label(data: bytes, suffix: str) -> int | None:
    """Class number from 0 to 2^31 - 1, or None where there is none."""
    label: object = None
    with suppress(ValueError, RecursionError):  # JSON can be nested deeper than Python's stack
        # 32 bytes hold every class number; a hostile file could hold millions of digits.
        value = json.loads(data) if suffix == "json" else int(data[:32])
        label = value.get("label") if isinstance(value, dict) else value if suffix == "cls" else None
    return label if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < 2**31 else None
