"""Columns of a table: which holds the images and which the labels, and how these are stored."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from equipoise.data.decode import UnreadableError
from equipoise.data.digests import Stored
from equipoise.data.sources.base import Annotations, LabelsAndClasses
from equipoise.data.sources.files import read_file
from equipoise.data.sources.labels import LABELS, number_values
from equipoise.errors import UsageError
from equipoise.reading import parse_json

IMAGES = ("image", "img", "picture", "pixel_values", "jpg", "jpeg", "png", "webp", "images")
UNLABELLED = -1  # the label that the datasets library gives to images without one

Schema = Any  # pyarrow comes without types
Opener = Callable[[Any, Path], Stored]  # reads a scalar of a table that lies in that folder


class _Feature(BaseModel):
    """What the datasets library notes of a column; of classes, their names."""

    model_config = ConfigDict(strict=True)
    kind: str = Field("", alias="_type")
    names: tuple[str, ...] | None = None


class _Info(BaseModel):
    features: dict[str, Annotated[_Feature | JsonValue, Field(union_mode="left_to_right")]]


class _Metadata(BaseModel):
    info: _Info


METADATA = TypeAdapter(_Metadata)


def image_column(schema: Schema, name: str) -> str:
    """Name of the column of images: noted by the datasets library, or in IMAGES, or the only one of binary values.

    Raises:
        UsageError: there is none, or it cannot hold images.
    """
    columns = _names(schema)
    noted = [column for column, feature in _features(schema).items() if feature.kind == "Image"]
    binary = [column for column in columns if _kind(schema.field(column).type) == "binary"]
    named = [column for column in IMAGES if column in columns]
    chosen = [column for column in IMAGES if column in noted] or noted or named or (binary if len(binary) == 1 else [])
    for column in chosen:
        if column in columns and _kind(schema.field(column).type) is not None:
            return str(column)
    listed = ", ".join(f"{field.name} ({str(field.type)[:60]})" for field in schema) or "nothing"
    raise UsageError(
        f"{name} has no column of images, but {listed}: "
        "store encoded images (bytes, or struct of bytes and path) or lists of uint8 in a column named 'image'"
    )


def holds_names(type_: Any) -> bool:
    """Whether an image column of this type may name files in place of images."""
    return _kind(type_) == "struct"


def opener(type_: Any, root: Path) -> Opener:
    """Function that reads values of an image column; files that they name must lie in `root`."""
    kind = _kind(type_)

    def read(value: Any, folder: Path) -> Stored:
        content = value.as_py() if value.is_valid else None
        if kind == "list" and content is not None:
            return _pixels(content)
        if kind == "struct" and content is not None:
            name, content = content.get("path"), content["bytes"]
            if content is None and name:
                # Resolved, so that neither ".." nor a link leads a table that somebody else wrote to any file here.
                path = Path(folder, str(name)).resolve()
                if not path.is_relative_to(root.resolve()):
                    raise UnreadableError(f"its file {name} lies outside of {root}")
                return read_file(path)
        if content is None:
            raise UnreadableError("no image, null")
        return bytes(content)

    return read


def annotate(schema: Schema, whole: Callable[[str], Any], name: str, *, images: str) -> Annotations:
    """Every column but that of the images that can be labels; that which is noted or named as such is the usual one."""
    fitting = [column for column in _names(schema) if column != images and _can_be_labels(schema, column)]
    columns = {column: partial(_read_labels, column, schema, whole, name) for column in fitting}
    features = _features(schema)
    noted = [column for column in fitting if column in features and features[column].kind == "ClassLabel"]
    candidates = [column for column in (*LABELS, *noted) if column in fitting]
    label = next((column for column in candidates if column in noted), next(iter(candidates), None))
    unfit = [] if label else [column for column in _names(schema) if column in LABELS and column not in fitting]
    notes = tuple(
        f"the column {column!r} is not used as labels, which are whole numbers, words or truth values: it holds "
        f"{str(schema.field(column).type)[:60]}"
        for column in unfit
    )
    return Annotations(columns=columns, label=label, notes=notes)


def _read_labels(column: str, schema: Schema, whole: Callable[[str], Any], name: str) -> LabelsAndClasses:
    import pyarrow as pa

    values = whole(column)
    if values.null_count == len(values):
        return None, None
    fits = pa.types.is_integer(values.type) and not pa.types.is_uint64(values.type)
    if values.null_count or not fits:  # dictionaries too, which not all can be cast
        return number_values(values.to_pylist(), column, name)
    labels = values.to_numpy().astype(np.int64)
    if (labels == UNLABELLED).all():
        return None, None
    feature = _features(schema).get(column)
    if feature is None or feature.names is None:
        return labels, None
    classes = feature.names
    if not 0 <= labels.min() <= labels.max() < len(classes):
        found = f"from {labels.min()} to {labels.max()}"
        raise UsageError(f"the labels in {name} must name one of {len(classes)} classes, but are {found}: mend them")
    return labels, classes


def _names(schema: Schema) -> list[str]:
    """Names of the columns, but of those that share one."""
    return [name for name, times in Counter(schema.names).items() if times == 1]


def _features(schema: Schema) -> dict[str, _Feature]:
    """Features of each column, as the datasets library notes them in the metadata."""
    with suppress(ValueError, KeyError):
        features = parse_json(METADATA, (schema.metadata or {})[b"huggingface"]).info.features
        return {column: feature for column, feature in features.items() if isinstance(feature, _Feature)}
    return {}


def _kind(type_: Any) -> str | None:
    """How a type may store images: encoded as "binary", in a "struct" with a path, as a "list" of pixels, or None."""
    import pyarrow as pa

    types = pa.types
    if types.is_binary(type_) or types.is_large_binary(type_) or str(type_) == "binary_view":  # as Polars has it
        return "binary"
    if types.is_struct(type_):
        fields = {field.name: field.type for field in type_}
        return "struct" if "bytes" in fields and _kind(fields["bytes"]) == "binary" else None
    depth = 0
    while types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        type_, depth = type_.value_type, depth + 1
    return "list" if depth in (2, 3) and types.is_integer(type_) else None


def _can_be_labels(schema: Schema, column: str) -> bool:
    import pyarrow as pa

    types, type_ = pa.types, schema.field(column).type
    type_ = type_.value_type if types.is_dictionary(type_) else type_
    known = (types.is_integer, types.is_boolean, types.is_string, types.is_large_string)
    return any(is_(type_) for is_ in known) or str(type_) == "string_view"


def _pixels(value: Sequence[Any]) -> Stored:
    """Pixels from nested lists (H, W), (H, W, C) or (C, H, W) of numbers from 0 to 255."""
    try:
        pixels = np.array(value)
        if not np.issubdtype(pixels.dtype, np.integer) or not 0 <= pixels.min() <= pixels.max() <= 255:
            raise ValueError
    except ValueError as error:
        raise UnreadableError("not whole rows of numbers from 0 to 255") from error
    if pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4) and pixels.shape[0] in (1, 3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[-1] not in (3, 4):
        raise UnreadableError(f"of the shape {pixels.shape}, which no image has")
    return pixels.astype(np.uint8)
