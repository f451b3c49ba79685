"""How samples are computed: in the precision and the layout of training."""

import torch

from equipoise import TrainConfig, train
from equipoise.data import to_uint8
from equipoise.networks import Autoencoder
from equipoise.objectives import BEGAN
from equipoise.randomness import keyed_generator, latents
from equipoise.sampling.load import load_discriminator, load_generator
from equipoise.sampling.sample import BLOCK, generate, sample_batches


def config(precision: str) -> TrainConfig:
    network = Autoencoder(width=8, latent=8)
    settings = {"images": 32, "batch": 16, "prior": "uniform", "device": "cpu", "precision": precision}
    return TrainConfig(objective=BEGAN(), network=network, **settings)


def test_samples_are_drawn_in_the_precision_of_training() -> None:
    generator, _ = config("bf16").build((1, 32, 32), 0)
    z = latents(BLOCK, 8, "uniform", keyed_generator(0, "sample"))
    with torch.no_grad():
        full = generator(z).images
        with torch.autocast("cpu", torch.bfloat16):
            half = generator(z).images
    assert not torch.equal(full, half.float())
    for precision, expected in [("fp32", full), ("bf16", half)]:
        for images in sample_batches(generator, config(precision), range(BLOCK), 0):
            assert not torch.is_autocast_enabled("cpu")  # nor is what is then done with them
            torch.testing.assert_close(images, to_uint8(expected), rtol=0, atol=0)


def test_networks_of_a_run_are_laid_out_as_in_training(tmp_path) -> None:
    run = train(config("fp32").with_changes(resolution=16), tmp_path / "run", quiet=True)
    for network in (load_generator(run), load_discriminator(run)):
        weights = [each for each in network.parameters() if each.dim() == 4 and each.shape[1] > 1]
        assert weights
        assert all(each.is_contiguous(memory_format=torch.channels_last) for each in weights)
        assert not network.training


def test_a_samples_bits_do_not_depend_on_how_many_are_drawn() -> None:
    generator, _ = config("fp32").build((1, 32, 32), 0)
    whole = torch.cat(list(sample_batches(generator, config("fp32"), range(2 * BLOCK), 0)))
    for start, stop in [(0, 1), (3, 70), (BLOCK, BLOCK + 5)]:
        part = torch.cat(list(sample_batches(generator, config("fp32"), range(start, stop), 0)))
        torch.testing.assert_close(part, whole[start:stop], rtol=0, atol=0)


def test_more_latents_than_a_block_are_generated_in_parts() -> None:
    generator, _ = config("fp32").build((1, 32, 32), 0)
    z = latents(2 * BLOCK + 3, 8, "uniform", keyed_generator(0, "sample"))
    with torch.no_grad():
        torch.testing.assert_close(generate(generator, config("fp32"), z), generator(z).images)
