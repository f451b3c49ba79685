"""Grids with words: pictures stay where they belong, pixel by pixel, and words are drawn beside them."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from equipoise.views.captions import (
    GAP,
    INK,
    LINE,
    MARGIN,
    _font,
    grid_with_captions,
    grid_with_headings,
    heat_map,
    stacked,
)

IMAGES = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_headings_stand_beside_a_grid_that_is_as_without_them() -> None:
    plain = np.asarray(grid_with_headings(IMAGES, ["", ""], ["", "", ""]))
    assert plain.shape == (2 * 64 + GAP, 3 * 64 + 2 * GAP, 3)
    assert (plain[:64:4, :64:4, 0] == IMAGES[0, 0].numpy()).all()
    assert (plain[66::4, 132::4, 2] == IMAGES[5, 0].numpy()).all()
    named = np.asarray(grid_with_headings(IMAGES, ["z[0]", "a longer name"], ["-1", "", "+1"]))
    assert (named[-plain.shape[0] :, -plain.shape[1] :] == plain).all()
    words = named[:, : -plain.shape[1]]
    assert (words < 100).any(), "nothing is written"
    for row in (0, 1):  # each at its own row
        top = named.shape[0] - plain.shape[0] + row * 66
        assert (words[top + 20 : top + 44] < 100).any()


def test_no_heading_reaches_into_the_next() -> None:
    columns = ["a long heading", "b", "another long one"]
    sheet = np.asarray(grid_with_headings(IMAGES, ["", ""], columns))
    across = (sheet.shape[1] + GAP) // 3
    dark = (sheet[:20] < 100).any(axis=(0, 2))
    assert not dark[across - 3 : across].any()
    assert not dark[2 * across - 3 : 2 * across].any()
    assert dark[:across].any()


def test_captions_stand_below_their_pictures_and_within_them() -> None:
    colour = IMAGES.expand(-1, 3, -1, -1)
    captions = [[f"a/very/long/path/to/a/picture/{number}.png", "+1.0"] for number in range(6)]
    sheet = np.asarray(grid_with_captions(colour, captions, 4))
    blank = np.asarray(grid_with_captions(colour, [["", ""]] * 6, 4))
    assert sheet.shape == blank.shape
    changed = (sheet != blank).any(axis=2)
    side, across, down = 96, 108, 96 + 2 * 16 + 12
    assert sheet.shape[:2] == (2 * down, 4 * across)
    for number in range(6):
        left, top = number % 4 * across, number // 4 * down
        cell = changed[top : top + down, left : left + across]
        assert not cell[: side + 6].any(), "no word covers a picture"
        assert cell[side + 6 :].any()
        assert (
            sheet[top + 6 : top + 6 + side : 6, left + 6 : left + 6 + side : 6, 0] == IMAGES[number, 0].numpy()
        ).all()
    assert not changed[down:, 2 * across :].any()


@pytest.mark.parametrize("name", ["short", "a/very/long/path/to/a/picture.png"])
def test_numbers_below_narrow_pictures_are_whole(name: str) -> None:
    narrow, number = IMAGES[:2, :, :, :4], "distance 12.3"  # 24 pixels wide where they are shown
    sheet = grid_with_captions(narrow, [[name, number]] * 2, 2)
    alone = Image.new("RGB", (sheet.width // 2, LINE), "white")
    ImageDraw.Draw(alone).text((MARGIN, 2), number, INK, _font())
    assert alone.width >= _font().getlength(number) + MARGIN
    for left in (0, alone.width):
        line = sheet.crop((left, MARGIN + 96 + LINE, left + alone.width, MARGIN + 96 + 2 * LINE))
        np.testing.assert_array_equal(np.asarray(line)[2:], np.asarray(alone)[2:])  # below the tails of the line above


def test_headings_are_whole_above_narrow_pictures() -> None:
    part = grid_with_captions(IMAGES[:1], [["1"]], 1)
    heading = "a heading that is much longer than the one picture below it is wide, 24 of 312"
    sheet = np.asarray(stacked([(heading, part)]))
    dark = (sheet[:32] < 100).any(axis=(0, 2))
    assert dark[-20:].any(), "it reaches to the end"
    assert not dark[-6:].any(), "and is not cut there"


def test_parts_are_stacked_below_their_headings() -> None:
    one, two = grid_with_headings(IMAGES, [""] * 2, [""] * 3), grid_with_headings(IMAGES[:1], [""], [""])
    sheet = np.asarray(stacked([("first", one), ("second", two)]))
    assert sheet.shape[:2] == (one.height + two.height + 64, one.width)
    assert (sheet[32 : 32 + one.height] == np.asarray(one)).all()


def test_a_heat_map_goes_from_dark_to_bright() -> None:
    values = np.linspace(0, 2, 11, dtype=np.float32)[None, None]
    colours = heat_map(values, 1.0)
    assert colours.shape == (1, 3, 1, 11)
    brightness = colours.astype(int).sum(axis=1)[0, 0]
    assert (np.diff(brightness)[:5] > 0).all()
    assert (brightness[5:] == brightness[-1]).all(), "beyond the highest all is as bright"
    assert heat_map(np.zeros((1, 2, 2), np.float32), 0.0).max() < 10


def test_letters_of_other_alphabets_are_drawn() -> None:
    missing = bytes(_font().getmask("\U000fffff"))
    for letter in "éüßλЖ":
        assert bytes(_font().getmask(letter)) != missing, letter
