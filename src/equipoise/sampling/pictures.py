"""Pictures to look at through a run: files, folders and data of any kind, brought to the run's shape, by name."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equipoise.config.datasets import picture_framing
from equipoise.data.decode import Prepared
from equipoise.data.digests import content_digest
from equipoise.data.formats import is_image
from equipoise.data.framing import Framing
from equipoise.data.open import is_path
from equipoise.data.packed.workers import ProgressCallback, prepare_each
from equipoise.data.sources import Contents, find_source
from equipoise.data.sources.base import source_errors
from equipoise.data.sources.files import read_file
from equipoise.errors import UsageError, UsageWarning, printable, reason
from equipoise.networks.base import Shape
from equipoise.reading import check_name, expand_home
from equipoise.runs.files import check_kind, check_place
from equipoise.runs.run import CHECKPOINT, CONFIG, Run

Named = Path | str
Given = Named | Sequence[Named] | Tensor | np.ndarray
"""One name or several of files, folders or other data; or uint8 pictures (N, C, H, W) themselves."""
OWN_FOLDERS = ("checkpoints", "samples")  # of a run


@dataclass
class Pictures:
    """Some pictures of one shape.

    Attributes:
        names: of each.
        pixels: (N, C, H, W) uint8.
        digests: of the stored content of each, equal for the same content.
    """

    names: list[str]
    pixels: Tensor
    digests: list[int]

    def __len__(self) -> int:
        return len(self.names)


@dataclass
class PictureReader:
    """Reads pictures in batches, whatever they are given as; what cannot be read is noted, unless it was named alone.

    Attributes:
        run: to whose shape they are brought, as its own images were.
        shape: (C, H, W).
        skipped: name and reason of those that could not be read, once they have been passed.
    """

    run: Run
    shape: Shape
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def read(self, given: Given, batch: int, progress: ProgressCallback | None = None) -> Iterator[Pictures]:
        """Yield the pictures in their order, `batch` at a time.

        Raises:
            UsageError: something is not there or is no image, an array is of another shape, or there are no pictures.
        """
        if isinstance(given, Tensor | np.ndarray):
            yield from _parts(self._checked(given), batch)
            return
        names: list[str] = []
        found: list[Prepared] = []
        none = True
        for name, picture in self._prepared([given] if isinstance(given, str | Path) else given, progress):
            names.append(name)
            found.append(picture)
            if len(names) == batch:
                none = False
                yield _together(names, found)
                names, found = [], []
        if names:
            yield _together(names, found)
        elif none:
            reasons = f" ({self.skipped[0][0]}: {self.skipped[0][1]})" if self.skipped else ""
            raise UsageError(f"there is no picture that can be read{reasons}: give files or folders of images")

    def read_all(self, given: Given, *, warn: bool = True) -> Pictures:
        """All of a few pictures at once; a warning tells what could not be read, unless the caller does."""
        parts = list(self.read(given, 1024))
        if warn and self.skipped:
            (name, why), more = self.skipped[0], len(self.skipped) - 1
            others = f", and {more:,} more" if more else ""
            warnings.warn(f"left out, as it cannot be read: {name}: {why}{others}", UsageWarning, stacklevel=2)
        return Pictures(
            [name for part in parts for name in part.names],
            torch.cat([part.pixels for part in parts]),
            [digest for part in parts for digest in part.digests],
        )

    def _prepared(self, given: Iterable[Named], progress: ProgressCallback | None) -> Iterator[tuple[str, Prepared]]:
        framing = picture_framing(self.run.config, self.shape[0], self.run.place)
        for name in given:
            check_name(name)
            path = expand_home(name)
            if is_image(path.name) and not path.is_dir():
                with source_errors(path):
                    stored = read_file(path)
                contents = Contents(names=[str(name)], read={0: stored}.__getitem__)
                yield from self._of(contents, framing, None, "", must=True)
                continue
            folder = f"{name}/" if path.is_dir() else ""
            with find_source(name).contents() as contents:
                yield from self._of(contents, framing, progress, folder, must=False)

    def _of(
        self, contents: Contents, framing: Framing, progress: ProgressCallback | None, folder: str, *, must: bool
    ) -> Iterator[tuple[str, Prepared]]:
        with closing(prepare_each(contents, framing, progress)) as images:
            for name, image in zip(contents.names, images, strict=True):
                if not isinstance(image, str):
                    yield printable(f"{folder}{name}"), image
                elif must:
                    raise UsageError(f"cannot read {name}: {image}; give another image")
                else:
                    self.skipped.append((printable(f"{folder}{name}"), image))

    def _checked(self, pictures: Tensor | np.ndarray) -> Tensor:
        whole = pictures.dtype in (torch.uint8, np.dtype(np.uint8))
        if not whole or tuple(pictures.shape[1:]) != self.shape or not len(pictures):
            raise UsageError(
                f"pictures of this run are uint8 (N, {', '.join(map(str, self.shape))}), not {pictures.dtype} "
                f"{tuple(pictures.shape)}: bring them to that, or name files"
            )
        if isinstance(pictures, np.ndarray):  # torch takes no negative strides, and warns of what is read-only
            return torch.from_numpy(np.require(pictures, requirements=["C", "W"]))
        return pictures.cpu()


def _together(names: list[str], found: list[Prepared]) -> Pictures:
    pixels = torch.from_numpy(np.stack([each.pixels for each in found]))
    return Pictures(names, pixels, [each.digest for each in found])


def _parts(pictures: Tensor, batch: int) -> Iterator[Pictures]:
    for start in range(0, len(pictures), batch):
        part = pictures[start : start + batch]
        digests = [content_digest(each.numpy()) for each in part]
        yield Pictures([f"{start + number}" for number in range(len(part))], part, digests)


def check_output(out: Path, images: Iterable[Named] = (), what: str = "pictures", kinds: Collection[str] = ()) -> None:
    """Refuse a place for what is made of `images` before the work, which may be long; into a folder, files are added.

    Args:
        out: the place.
        images: files and folders that go into the work.
        what: is made, in words.
        kinds: suffixes that it may have, "" for a folder; by default any.

    Raises:
        UsageError: it cannot be written, is of another kind, is one of `images`, or as `check_spared`.
    """
    if kinds:
        check_kind(out, what, kinds)
    place = expand_home(out)
    if place.is_dir() and not place.suffix:
        try:
            full = bool(kinds) and any(place.iterdir())
        except OSError as error:
            raise UsageError(f"cannot use {out}: {reason(error)}; choose another --out") from error
        if full:
            raise UsageError(f"{out} is not empty: choose another --out")
        return
    check_place(place)
    check_spared(place, images)


def check_spared(out: Path, given: Iterable[Named] = ()) -> None:
    """Refuse a place that would be missed: a file of a run, or what is read; and a new picture among images that are.

    Args:
        out: the place of a new file.
        given: files and folders that are read; of a run, its data are.

    Raises:
        UsageError: it is one of these.
    """
    place = expand_home(out)
    above = place.absolute().parent
    own = place.name == CONFIG or place.suffix in (".jsonl", CHECKPOINT)
    if place.is_file() and ((own and _is_run(above)) or (above.name in OWN_FOLDERS and _is_run(above.parent))):
        raise UsageError(f"{printable(str(out))} is a file of a run: choose another place")
    for name in given:
        each, same, new = expand_home(name), False, False
        with suppress(OSError, ValueError):  # what is not there is told where it is read
            run = Run.open(each) if _is_run(each) else None
            data = each if run is None else expand_home(run.place)
            inside = lies_within(place, data)
            same = place.exists() and (inside or place.samefile(data))
            new = inside and run is None and is_image(str(place.resolve().relative_to(data.resolve())))
        if same:
            raise UsageError(f"{printable(str(out))} is among what is given: choose another place")
        if new and (isinstance(name, Path) or is_path(name)):  # not where a folder is named like bundled data
            where = f"{printable(str(out))} would lie among the images of {printable(str(name))}"
            raise UsageError(f"{where}: choose a place outside of it")


def lies_within(place: Path, folder: Path) -> bool:
    """Whether a place is a folder that is there or lies below it, whatever links lead to either."""
    with suppress(OSError, ValueError):  # what is not there is told where it is read
        return folder.is_dir() and place.resolve().is_relative_to(folder.resolve())
    return False


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file()
