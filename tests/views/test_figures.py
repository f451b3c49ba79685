"""Grids of images and the curves of a run."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.errors import UsageError
from equipoise.views.figures import MAX_UNKNOWN, PANELS, Mark, Series, curves, grid, smooth


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def cut(image, count, columns, *, gap, scale, shape):
    """The images back out of a grid, (N, C, H, W)."""
    channels, height, width = shape
    sheet = np.asarray(image).reshape(image.height, image.width, channels)
    down, across = height * scale + gap, width * scale + gap
    cells = [
        sheet[i // columns * down :, i % columns * across :][: height * scale : scale, : width * scale : scale]
        for i in range(count)
    ]
    return np.stack(cells).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("scale", "gap"), [(1, 2), (3, 0), (2, 5)])
def test_images_come_back_out_of_a_saved_grid(tmp_path, channels, scale, gap):
    images = noise(7, channels, 5, 9)
    grid(torch.from_numpy(images), columns=3, gap=gap, scale=scale).save(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as opened:
        assert opened.size == (3 * 9 * scale + 2 * gap, 3 * 5 * scale + 2 * gap)
        np.testing.assert_array_equal(cut(opened, 7, 3, gap=gap, scale=scale, shape=(channels, 5, 9)), images)


def test_an_enlarged_pixel_is_a_sharp_square_and_the_ground_is_white():
    image = np.asarray(grid(np.zeros((1, 1, 2, 2), np.uint8) + 7, scale=4))
    assert image.shape == (8, 8)
    assert (image == 7).all()
    assert (np.asarray(grid(np.zeros((2, 3, 4, 4), np.uint8), gap=2, scale=1))[:, 4:6] == 255).all()
    assert (np.asarray(grid(np.full((2, 4, 4, 4), 9, np.uint8), gap=2, scale=1))[:, 4:6, 3] == 0).all()


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (8, 4), (10, 5), (12, 4), (16, 4), (64, 8), (100, 10)],
)
def test_the_layout_is_near_square_with_few_empty_cells(count, columns):
    assert grid(noise(count, 1, 4, 4), gap=0, scale=1).width == 4 * columns


@pytest.mark.parametrize(("side", "cell"), [(8, 56), (16, 64), (28, 56), (32, 64), (64, 64), (128, 128)])
def test_small_images_are_enlarged_until_they_are_easy_to_see(side, cell):
    assert grid(noise(1, 1, side, side)).size == (cell, cell)


@pytest.mark.parametrize(
    ("images", "options"),
    [
        (np.zeros((1, 1, 4, 4), np.float32), {}),
        (np.zeros((1, 4, 4), np.uint8), {}),
        (np.zeros((1, 2, 4, 4), np.uint8), {}),
        (np.zeros((0, 1, 4, 4), np.uint8), {}),
        (np.zeros((1, 1, 4, 4), np.uint8), {"columns": 0}),
        (np.zeros((1, 1, 4, 4), np.uint8), {"scale": 0}),
        (np.zeros((1, 1, 4, 4), np.uint8), {"gap": -1}),
    ],
)
def test_what_makes_no_grid_is_refused(images, options):
    with pytest.raises(UsageError, match=r"not "):
        grid(images, **options)


def test_smoothing_keeps_constants_and_length_and_lowers_noise():
    np.testing.assert_allclose(smooth(np.full(50, 3.0), 4), 3.0)
    values = np.random.default_rng(0).normal(size=500)
    assert smooth(values, 5).shape == values.shape
    assert smooth(values, 5).std() < 0.4 * values.std()
    assert smooth(values[:1], 5).shape == (1,)


def series(values):
    values = np.asarray(values, dtype=np.float64)
    return Series(1000.0 * np.arange(1, len(values) + 1), values)


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_known_measures_get_their_panels_and_a_constant_learning_rate_none():
    known = {name: series(np.linspace(1, 0.5, 60)) for panel in PANELS for name in panel.lines}
    assert titles(curves(known, gamma=0.5)) == [panel.title for panel in PANELS]
    assert "Learning rate" not in titles(curves({**known, "lr": series([1e-4, 1e-4])}))


def test_unknown_measures_get_plain_panels_of_a_bounded_number():
    assert titles(curves({"a_whim_real": series([1, 2]), "a_whim_fake": series([0, 1])})) == ["A whim"]
    assert len(curves({f"measure_{i}": series([1, 2]) for i in range(50)}).axes) == MAX_UNKNOWN


def test_theory_is_drawn_beside_practice():
    figure = curves({"energy_real": series([0.2] * 50), "energy_fake": series([0.1] * 50)}, gamma=0.25)
    guide = next(line for line in figure.axes[0].lines if "gamma" in line.get_label())
    np.testing.assert_allclose(guide.get_ydata(), 0.05)
    (lowest,) = (line for line in curves({"m_global": series([3, 1, 2])}).axes[0].lines if "lowest" in line.get_label())
    np.testing.assert_allclose(lowest.get_ydata(), [3, 1, 1])


@pytest.mark.parametrize("gamma", [0.5, 1.5])
def test_what_the_legend_names_lies_on_the_axes(gamma):
    flat = series([0.2] * 50)
    figure = curves({"energy_real": flat, "balance": flat, "grain": series([0.4] * 50)}, gamma=gamma)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        for line in axes.lines:
            assert low <= np.atleast_1d(line.get_ydata())[0] <= high, (axes.get_title("left"), line.get_label())


@pytest.mark.parametrize("letters", [5, 60, 80, 250])
def test_a_long_title_leaves_room_for_the_legend_of_marks(letters):
    figure = curves({"k": series([0.5])}, marks=[Mark(1000, "warning"), Mark(2000, "error")], title="m" * letters)
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    legends = [text.get_window_extent() for text in figure.texts if text.get_text().startswith("|")]
    assert len(legends) == 2
    assert title.x1 < min(legend.x0 for legend in legends)


def test_the_first_spike_does_not_flatten_the_rest_but_a_late_one_is_seen():
    values = np.full(300, 0.1)
    values[0] = 50
    assert curves({"m_global": series(values)}).axes[0].get_ylim()[1] < 1
    assert curves({"m_global": series(values[::-1])}).axes[0].get_ylim()[1] > 50


@pytest.mark.parametrize(
    "measures", [{}, {"k": series([0.5])}, {"a$b_{": series(np.arange(10_000))}, {"k": series([])}]
)
def test_little_much_and_odd_names_can_be_drawn(measures):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = curves(measures, marks=[Mark(1000, "warning"), Mark(2000, "error")], title="$_{")
        figure.draw_without_rendering()
