"""Files that say what images show, of any content: labels that fit, or a refusal of one sentence."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.data.sources.annotations import READERS, annotate
from equipoise.data.sources.base import Annotations
from equipoise.errors import UsageError

IMAGES = ["1.png", "a/2.png"]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(IMAGES)
KEYS = st.sampled_from([*IMAGES, "labels", "label", "file_name", "x"])
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12)
WORDS = st.sampled_from(
    [*IMAGES, "2.png", "label", "file_name", "image_id", "2", "1", "-1", "0", '"', "\ufeff", "\0", "é"]
)
LINES = st.lists(st.tuples(st.lists(WORDS, max_size=4), st.sampled_from([" ", ",", "  "])), max_size=5).map(
    lambda lines: "\n".join(mark.join(words) for words, mark in lines).encode()
)
CONTENTS = st.one_of(st.binary(max_size=40), VALUES.map(lambda value: json.dumps(value).encode()), LINES)


def labels_of(annotations: Annotations) -> Iterator[Any]:
    yield annotations.labels, annotations.classes
    for column in annotations.columns.values():
        with suppress(UsageError):
            yield column()


@pytest.mark.parametrize("name", READERS)
@given(CONTENTS)
def test_any_content_gives_labels_that_fit_or_a_sentence(name: str, content: bytes) -> None:
    found = Annotations()
    with suppress(UsageError):
        found = annotate(IMAGES, {name: lambda: content}, "data")
    for labels, classes in labels_of(found):
        if labels is not None:
            assert (labels.shape, labels.dtype) == ((2,), np.int64)
            assert classes is None or 0 <= labels.min() <= labels.max() < len(classes)
    assert found.held_out is None or (found.held_out.shape, found.held_out.dtype) == ((2,), np.bool_)
    assert all(len(note) < 500 for note in found.notes)
