"""Data sets of the Hugging Face Hub: `hf://owner/name`, and `hf://owner/name@revision/path#split` where needed.

Downloads go to the cache of huggingface_hub. The list of files of a revision is noted in the cache of packed data, so
that data which was used once can be used again without a network.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pydantic import TypeAdapter

from equipoise.data.cache import cache_folder, write_note
from equipoise.data.formats import is_image
from equipoise.data.sources import hub_client
from equipoise.data.sources.base import Contents, Source
from equipoise.data.sources.extras import extra
from equipoise.data.sources.files import archive
from equipoise.data.sources.hub_client import MissingRevisionError, OutOfReachError, call_hub
from equipoise.data.sources.parquet import choose, is_table, open_files
from equipoise.errors import UsageError
from equipoise.reading import parse_json, read_bytes

SCHEME = "hf://"
CONVERTED = "refs/convert/parquet"  # where the hub keeps what it made of data in other forms
MOST_LISTING = 2**26  # bytes of a noted list of files
FORM = "hf://owner/name, hf://owner/name@revision, hf://owner/name/folder or hf://owner/name#test"
NAME = re.compile(
    r"(?:datasets/)?(?P<repository>(?>[\w.-]+(?:/[\w.-]+)?))"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/#]+|[^/#]+))?"
    r"(?:/(?P<path>[^#]+))?(?:#(?P<split>[^#]+))?"
)


@dataclass(frozen=True)
class Listing:
    """Files of a data set in one commit."""

    repository: str
    commit: str
    files: tuple[str, ...]


def hub(name: str) -> Source | None:
    """Source of a data set of the hub, by its name; nothing is downloaded yet.

    Raises:
        UsageError: there is no such data set, it may not be read, it has no such images, or the hub is out of reach.
    """
    if not name.startswith(SCHEME):
        return None
    match = NAME.fullmatch(name.removeprefix(SCHEME))
    if match is None or match["repository"].split("/")[0] in ("models", "spaces", "buckets"):
        raise UsageError(f"{name} is no name of a data set on the hub: write {FORM}")
    with extra("hub", name):
        import huggingface_hub  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    path, split = (match["path"] or "").strip("/"), match["split"]
    listing, chosen = _choose_files(match["repository"], match["revision"], path, split, name)
    identity = ("hub", listing.repository, listing.commit, *chosen)
    return Source(name, identity, partial(_open, listing, chosen, name))


@contextmanager
def _open(listing: Listing, chosen: Sequence[str], name: str) -> Iterator[Contents]:
    paths = [_download(listing, file, name) for file in chosen]
    zipped = archive(paths[0])
    contents = open_files(paths, paths[0].parent, name) if zipped is None else zipped.contents()
    with contents as opened:
        yield opened


def _choose_files(
    repository: str, revision: str | None, path: str, split: str | None, name: str
) -> tuple[Listing, Sequence[str]]:
    """Files to read: Parquet or Arrow, of the repository itself or as the hub converted it, or a .zip."""
    listing = _list_or_recall(repository, unquote(revision) if revision else None, name)
    files = _below(listing, path)
    if any(is_table(file) for file in files):
        return listing, choose(files, split, name)
    if revision is None:
        converted = _list_or_recall(repository, CONVERTED, name)
        if any(is_table(file) for file in _below(converted, path)):
            return converted, choose(_below(converted, path), split, name)
    zips = [file for file in files if file.lower().endswith(".zip")]
    if len(zips) == 1 and split is None:
        return listing, zips
    raise UsageError(_no_images(listing, files, zips, path, name))


def _below(listing: Listing, path: str) -> list[str]:
    return [file for file in listing.files if not path or file == path or file.startswith(f"{path}/")]


def _no_images(listing: Listing, files: Sequence[str], zips: Sequence[str], path: str, name: str) -> str:
    if path and not files:
        return f"{name} does not exist: {listing.repository} has no {path!r} in that revision"
    if zips:
        return f"{name} holds {len(zips)} archives: name one of them, as {SCHEME}{listing.repository}/{zips[0]}"
    if any(is_image(file) for file in files):
        fetch = f"hf download {listing.repository} --repo-type dataset --local-dir photos"
        return f"{name} holds single image files: run `{fetch}` and give that folder"
    kinds = ", ".join(sorted({PurePosixPath(file).suffix for file in files} - {""})) or "nothing"
    return f"{name} holds no images in Parquet, Arrow or .zip files, but {kinds}: download and convert it yourself"


def _list_or_recall(repository: str, revision: str | None, name: str) -> Listing:
    """Files of a revision; where the hub is out of reach, as they were when it was last reached."""
    key = hashlib.sha256(f"{repository}\0{revision}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    note = cache_folder() / "hub" / f"{key}.json"
    try:
        listing = _list_files(repository, revision, name)
    except OutOfReachError:
        with suppress(OSError, ValueError):
            return parse_json(TypeAdapter(Listing), read_bytes(note, MOST_LISTING))
        raise
    write_note(note, json.dumps(asdict(listing)))
    return listing


def _list_files(repository: str, revision: str | None, name: str) -> Listing:
    from huggingface_hub import HfApi

    seconds = hub_client.ANSWER_TIME
    try:
        info = call_hub(
            lambda: HfApi().dataset_info(repository, revision=revision, timeout=seconds), name, seconds=seconds
        )
    except MissingRevisionError:
        if revision != CONVERTED:
            raise
        return Listing(repository, "", ())  # the hub did not convert it
    return Listing(info.id, str(info.sha), tuple(sorted(file.rfilename for file in info.siblings or ())))


def _download(listing: Listing, file: str, name: str) -> Path:
    """Path of a file in the cache of huggingface_hub, downloaded unless it is there already."""
    return hub_client.download(listing.repository, file, name, revision=listing.commit, repo_type="dataset")
