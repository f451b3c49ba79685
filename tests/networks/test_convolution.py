"""Layers that are products of matrices, or go to cells of pixels: against torch's own, and when they are taken."""

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.networks.convolution import Conv2d, ConvTranspose2d
from equipoise.networks.kernel import Kernel

BF16 = 2**-7  # its relative rounding, twice


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


class Operators(TorchDispatchMode):
    """Counts what is computed, and keeps the shapes of the weights that are convolved with."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.weights: list[torch.Size] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[name := func.overloadpacket.__name__] += 1
        if name == "convolution":
            self.weights.append(args[1].shape)
        return func(*args, **(kwargs or {}))


LAYERS = [
    (Conv2d(128, 16, 3, padding=1), nn.Conv2d, (2, 128, 4, 4)),
    (Conv2d(256, 256, 4, 2, 1, bias=False), nn.Conv2d, (2, 256, 8, 8)),
    (ConvTranspose2d(256, 256, 4, 2, 1), nn.ConvTranspose2d, (2, 256, 4, 4)),
    (ConvTranspose2d(128, 128, 4), nn.ConvTranspose2d, (2, 128, 1, 1)),
]


@pytest.mark.parametrize(("layer", "kind", "shape"), LAYERS, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("tiles", [False, True])
def test_in_bf16_gradients_by_weights_are_products(
    monkeypatch: pytest.MonkeyPatch, layer: nn.Module, kind: type, shape: tuple[int, ...], tiles: bool
) -> None:
    """And within rounding of those in full precision; with AMX the convolutions of many channels are products too."""
    monkeypatch.setattr("equipoise.networks.convolution.cpu_multiplies_tiles", lambda: tiles)
    torch.manual_seed(0)
    images = torch.randn(shape, requires_grad=True)

    def gradients(forward: Any) -> list[Tensor]:
        out = forward(images)
        return [out.float(), *torch.autograd.grad((out.float() ** 2).mean(), (images, *layer.parameters()))]

    with torch.autocast("cpu", torch.bfloat16), Operators() as ours:
        got = gradients(layer)
    exact = gradients(lambda images: kind.forward(layer, images))
    assert ours.counts["mm"] >= 1
    assert ours.counts["convolution_backward"] == 0
    torchs = 0 if shape[2] == 1 else 2 if not tiles or shape[1] < 256 else 0  # the convolution, and back to the images
    assert ours.counts["convolution"] == torchs
    for mine, truth in zip(got, exact, strict=True):
        assert mine.dtype == truth.dtype
        assert (mine - truth).norm() <= BF16 * truth.norm()


def layer_with(**changes: int) -> Conv2d:
    settings = {"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1, **changes}
    return Conv2d(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "side", "precision"),
    [
        (layer_with(), 4, torch.float32),
        (layer_with(), 8, torch.bfloat16),
        (layer_with(out_channels=15), 4, torch.bfloat16),
        (layer_with().requires_grad_(False), 4, torch.bfloat16),
    ],
    ids=["full precision", "many pixels", "few channels", "frozen"],
)
def test_elsewhere_they_are_torchs_own(layer: Conv2d, side: int, precision: torch.dtype) -> None:
    images = torch.randn(1, 128, side, side, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16), Operators() as operators:
        layer(images).sum().backward()
    assert operators.counts["mm"] == 0
    assert operators.counts["convolution"] == 1
    assert operators.counts["convolution_backward"] == 1


def test_a_transposed_convolution_sums_the_gradient_by_its_bias() -> None:
    """Also where the activation after it works in place, and twice differentiated."""
    torch.manual_seed(0)
    layer, x = ConvTranspose2d(3, 12, 4, 2, 1).double(), numbers(2, 3, 4, 4)
    inputs, found = (x, *layer.parameters()), []
    for forward in (layer, lambda x: nn.ConvTranspose2d.forward(layer, x)):
        (slopes,) = torch.autograd.grad((F.elu(forward(x), inplace=True) ** 3).sum(), x, create_graph=True)
        found.append([slopes, *torch.autograd.grad((slopes**2).sum(), inputs)])
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    with Operators() as operators:
        layer(x).sum().backward()
    assert operators.counts["sum"] == 2  # the loss is one


@pytest.mark.parametrize("kernel", [(4, 4), (3, 4)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_kernel_as_large_as_the_image_is_a_linear_layer(
    kernel: tuple[int, int], bias: bool, channels_last: bool
) -> None:
    """And so is the transposed one of a pixel; both with torch's own results and gradients."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for ours, theirs, sides in ((Conv2d, nn.Conv2d, kernel), (ConvTranspose2d, nn.ConvTranspose2d, (1, 1))):
        layer = ours(5, 7, kernel, bias=bias).double().to(memory_format=layout)  # type: ignore[call-overload]
        plain = theirs(5, 7, kernel, bias=bias).double().to(memory_format=layout)  # type: ignore[call-overload]
        plain.load_state_dict(layer.state_dict())
        x = numbers(2, 5, *sides)
        with Operators() as operators:
            result = layer(x.to(memory_format=layout))
        assert not operators.counts["convolution"]
        expected = plain(x)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
        slopes = torch.randn_like(expected)
        for got, right in zip(
            torch.autograd.grad(result, (x, *layer.parameters()), slopes),
            torch.autograd.grad(expected, (x, *plain.parameters()), slopes),
            strict=True,
        ):
            torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": (3, 4), "padding": (1, 0)},
        {"kernel_size": 4, "stride": (2, 1)},
        {"kernel_size": 3, "groups": 2},
        {"kernel_size": 2, "dilation": 2},
        {"kernel_size": 4, "groups": 2},  # as large as the image, or of one pixel
    ],
    ids=str,
)
def test_of_another_form_they_are_torchs_too(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layers = [
        (Conv2d, nn.Conv2d, 4),
        (ConvTranspose2d, nn.ConvTranspose2d, 4),
        (ConvTranspose2d, nn.ConvTranspose2d, 1),
    ]
    for ours, theirs, side in layers:
        layer, x = ours(4, 6, **options).double(), numbers(2, 4, side, side)
        torch.testing.assert_close(layer(x), theirs.forward(layer, x), rtol=1e-12, atol=1e-12)
    enlarging = ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1).double()
    x = numbers(2, 4, 4, 4)
    torch.testing.assert_close(enlarging(x), nn.ConvTranspose2d.forward(enlarging, x), rtol=1e-12, atol=1e-12)
    same = Conv2d(4, 6, 3, padding="same", padding_mode="reflect").double()
    torch.testing.assert_close(same(x), nn.Conv2d.forward(same, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [(4, 4), (3, 4)])
def test_nor_is_it_a_convolution_under_autocast(kernel: tuple[int, int]) -> None:
    """With as many weights as those that are taken as products of patches, which are square."""
    layer, image = Conv2d(128, 128, kernel), torch.randn(2, 128, *kernel)
    back, pixel = ConvTranspose2d(128, 128, kernel), torch.randn(2, 128, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(image).shape == (2, 128, 1, 1)
        assert back(pixel).shape == (2, 128, *kernel)


CELLS = [(4, 2, 1), (6, 3, 1), (2, 2, 0), (4, 4, 0), (4, 2, 0)]


@pytest.mark.parametrize("shape", CELLS)
@pytest.mark.parametrize("bias", [False, True])
def test_to_few_channels_it_is_torchs_transposed_convolution(shape: tuple[int, int, int], bias: bool) -> None:
    torch.manual_seed(0)
    for channels, sides in ((1, (4, 4)), (3, (5, 2))):
        layer, x = ConvTranspose2d(5, channels, *shape, bias=bias).double(), numbers(2, 5, *sides)
        with Operators() as operators:
            result = layer(x)
        cell = shape[1]
        assert operators.weights == [(5, cell**2 * channels, *[shape[0] // cell] * 2)]
        expected = nn.ConvTranspose2d.forward(layer, x)
        assert result.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
        inputs, slopes = (x, *layer.parameters()), torch.randn_like(expected)
        for got, right in zip(
            torch.autograd.grad(result, inputs, slopes), torch.autograd.grad(expected, inputs, slopes), strict=True
        ):
            torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", CELLS)
@pytest.mark.parametrize("bias", [False, True])
def test_from_few_channels_the_way_back_is_by_cells(shape: tuple[int, int, int], bias: bool) -> None:
    """Also where the last rows are of no patch, as there are here with a padding; twice, as by a gradient penalty."""
    torch.manual_seed(0)
    size, side, padding = shape
    height, width = Kernel(*shape).input_size(torch.Size((3, 4)))
    layer, images = Conv2d(3, 5, *shape, bias=bias).double(), numbers(2, 3, height + padding, width)
    inputs, found = (images, *layer.parameters()), []
    for forward in (layer, lambda images: nn.Conv2d.forward(layer, images)):
        with Operators() as operators:
            (slopes,) = torch.autograd.grad((forward(images) ** 3).sum(), images, create_graph=True)
            found.append([slopes, *torch.autograd.grad((slopes**2).sum(), inputs)])
        cells = (5, side**2 * 3, *[size // side] * 2)
        assert (cells in operators.weights) == (forward is layer)
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_in_bf16_the_way_back_by_cells_is_within_rounding() -> None:
    torch.manual_seed(0)
    layer, images = Conv2d(3, 32, 4, 2, 1), torch.randn(4, 3, 16, 16, requires_grad=True)
    (exact,) = torch.autograd.grad(layer(images).square().mean(), images)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(images)
    (got,) = torch.autograd.grad(out.float().square().mean(), images)
    assert out.dtype == torch.bfloat16
    assert got.dtype == torch.float32
    assert (got - exact).norm() <= BF16 * exact.norm()


def test_to_few_channels_it_can_be_differentiated_twice() -> None:
    torch.manual_seed(0)
    layer = ConvTranspose2d(2, 1, 4, 2, 1, bias=False).double()
    assert torch.autograd.gradgradcheck(layer, (numbers(1, 2, 2, 3),))


@pytest.mark.parametrize(
    "layer",
    [
        ConvTranspose2d(4, 9, 4, 2, 1),
        ConvTranspose2d(4, 3, 3, 2, 1),
        ConvTranspose2d(4, 3, 3, 1, 1),
    ],
    ids=["many channels", "no whole cells", "no stride"],
)
def test_else_it_is_not_taken_to_cells(layer: ConvTranspose2d) -> None:
    with Operators() as operators:
        layer(torch.randn(2, 4, 4, 4)).sum().backward()
    assert operators.weights == [layer.weight.shape]
