"""The samples of a shard, by the convention of WebDataset: files in a row whose names agree up to the first dot."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from equipoise.data.formats import is_image
from equipoise.data.shards.tar import Member, Tar
from equipoise.data.sources.files import MAX_FILE_BYTES
from equipoise.errors import counted

NAME = re.compile(r"((?:.*/|)[^./][^.]*)\.([^/]*)", re.DOTALL)  # a key, the first dot, a suffix
META = re.compile(r"(?:.*/)?__[^/]*__(?:/.*)?", re.DOTALL)  # WebDataset's own files
MAX_LABEL_BYTES = 2**20  # of a .cls or .json
CLASS, LABEL = "cls", "label"  # names of the labels that are taken where none is chosen, the first that is there
MAX_LABEL = 2**31 - 1


@dataclass
class Sample:
    """One image of a shard as it is stored, and where it lies.

    Attributes:
        name: of the image in the archive.
        member: its place in the archive, unpacked.
        image: the file's bytes; b"" where it is too large, or where only places are wanted.
        labels: class numbers by name: `cls`, and whatever whole numbers and truth values a .json holds.
        label: the class number that is used, or None.
        left_out: further images of the sample, which are not used.
        shard: the number of its shard, once that is known.
    """

    name: str
    member: Member
    image: bytes
    labels: dict[str, int] = field(default_factory=dict)
    label: int | None = None
    left_out: int = 0
    shard: int = 0


def read_samples(tar: Tar, label: str | None = None, *, images: bool = True) -> Iterator[Sample]:
    """Samples of a shard that have an image, with its bytes unless `images` is False.

    The first image of a sample counts, and the others are counted. A name that comes again begins a new sample, so that
    nothing is lost.

    Args:
        tar: the shard.
        label: name of the class numbers to use; by default those of a .cls, or else `label` in a .json.
        images: whether to read the images.
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
                yield _with_labels(sample, labels, label)
            key, sample, labels = match[1], None, {}
        if is_image(member.name):
            if sample is not None:
                sample.left_out += 1
                continue
            fits = images and member.size <= MAX_FILE_BYTES
            sample = Sample(member.name, member, tar.read(member) if fits else b"")
        elif suffix in (CLASS, "json") and member.size <= MAX_LABEL_BYTES:
            labels |= _parse_labels(tar.read(member), suffix)
    if sample is not None:
        yield _with_labels(sample, labels, label)


def left_out_note(samples: Sequence[Sample]) -> tuple[str, ...]:
    """A note on the images that are not used, since another of the same sample is; none where there are none."""
    count = sum(sample.left_out for sample in samples)
    if not count:
        return ()
    example = next(sample.name for sample in samples if sample.left_out)
    return (
        f"left out: {counted(count, 'image')} beside another in its sample, as names that agree up to the first dot "
        f"are one sample, such as that of {example}; rename the files, or unpack them into a folder, to have all",
    )


def _with_labels(sample: Sample, labels: dict[str, int], label: str | None) -> Sample:
    sample.labels = labels
    sample.label = next(
        (labels[name] for name in ((CLASS, LABEL) if label is None else (label,)) if name in labels), None
    )
    return sample


def _parse_labels(data: bytes, suffix: str) -> dict[str, int]:
    """Class numbers from 0 to MAX_LABEL by name, of which there may be none."""
    values: object = None
    with suppress(ValueError, RecursionError):  # JSON can be nested deeper than Python's stack
        # 32 bytes hold every class number; a hostile file could hold millions of digits.
        values = {CLASS: int(data[:32])} if suffix == CLASS else json.loads(data)
    if not isinstance(values, dict):
        return {}
    return {name: int(value) for name, value in values.items() if isinstance(value, int) and 0 <= value <= MAX_LABEL}
