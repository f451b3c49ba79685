"""The score with which a training ends, in one sentence: of a few samples, by a cheap extractor that fits the data."""

import math

import torch
from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import Dataset, Toy
from equipoise.data.shards import is_stream
from equipoise.evaluation.features import extractor_name, image_statistics
from equipoise.evaluation.image_sets import stored_images
from equipoise.metrics import FeatureBatch, Statistic, Statistics, accumulate, manifold_scores, squared_mmd
from equipoise.metrics.features import load_extractor
from equipoise.metrics.modes import MIN_SHARE
from equipoise.sampling.sample import images_to_fill_in, sample_batches
from equipoise.views.toy_scatter import toy_measures

COUNTS = {"digits": 1000, "effnet-lite0": 128, "pixels": 500}  # images of each set that take a few seconds of one core
FEWEST = 100  # samples that make a score
IMAGES_PER_SAMPLE = 10  # seen in training, at least: the score takes little time beside that
POINTS = 2000  # of a toy
WORDS = {  # up to which KID what is said; after the series of docs/results/calibration.md
    "digits": {
        0.03: "hardly to be told from the real ones",
        0.3: "recognisable",
        1.0: "rough, though some can be read",
        math.inf: "not digits yet",
    },
    "effnet-lite0": {
        0.03: "hardly to be told from the real ones",
        0.15: "near; real ones that are blurred by 3 % of their width are about as far away",
        0.4: "far away, about as real ones that are blurred by 6 % of their width",
        math.inf: "very far away, about as real ones in coarse grain or in shuffled pieces",
    },
    "pixels": {math.inf: "pixels say little of what people see: pip install 'equipoise[features]'"},
}
DIGITS = ("zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines")
FEW = 0.5  # of the samples that a class should have


def closing_score(
    config: TrainConfig, dataset: Dataset, generator: nn.Module, images_seen: int, device: torch.device
) -> str | None:
    """One sentence on a trained generator: KID and coverage beside held-out images, what is missing, what it means.

    Of all pairs of at most COUNTS images, so that it takes seconds; `equipoise evaluate` is more exact.

    Args:
        config: of the run.
        dataset: of the run, open.
        generator: in evaluation mode, on `device`.
        images_seen: in training.
        device: where features are extracted.

    Returns:
        The sentence, or None after a training too short to be scored, and of shards, which would have to be read again.
    """
    if config.toy:
        points = torch.cat(list(sample_batches(generator, config, range(POINTS), config.seed)))
        return toy_sentence(config.toy, points.flatten(1))
    name = extractor_name("auto", config.data)
    count = min(COUNTS[name], images_seen // IMAGES_PER_SAMPLE)
    if count < FEWEST or is_stream(config.data):
        return None
    held_out = dataset.split("held-out")
    enough = len(held_out) >= FEWEST
    real = stored_images(held_out if enough else dataset.split("train"), config.data, COUNTS[name], config.seed)
    if real.count < FEWEST:
        return None
    extractor = load_extractor(name, device=device, shape=real.shape)
    required: frozenset[Statistic] = frozenset({"vectors", "probabilities"} if extractor.classes else {"vectors"})
    masked = images_to_fill_in(dataset) if config.tasks.inpaint else None
    drawn = sample_batches(generator, config, range(count), config.seed, masked=masked)
    samples = accumulate((FeatureBatch(batch, *extractor(batch)) for batch in drawn), required, total=count)
    reference = image_statistics(real, required, extractor, config.seed)
    beside = f"{real.count} {'held-out' if enough else 'training'} images"
    return image_sentence(samples, reference, name, beside)


def image_sentence(samples: Statistics, reference: Statistics, features: str, beside: str) -> str:
    """The sentence on images, from the statistics of both sets.

    Args:
        samples: vectors, and of digits the probabilities.
        reference: the same of real images.
        features: the extractor's name, in WORDS.
        beside: the real images in words.
    """
    assert samples.vectors is not None  # noqa: S101
    assert reference.vectors is not None  # noqa: S101
    kid = squared_mmd(samples.vectors, reference.vectors)
    coverage = manifold_scores(reference.vectors, samples.vectors).coverage
    words = next(words for limit, words in WORDS[features].items() if kid <= limit)
    figures = f"KID {kid:.2g}, coverage {coverage:.2f} beside {beside}, by {features}"
    if features == "digits" and samples.probabilities is not None and reference.probabilities is not None:
        words += f"; {digits_found(samples.probabilities, reference.probabilities)}"
    return f"{figures}: {words}"


def digits_found(samples: Tensor, reference: Tensor) -> str:
    """How many of the ten digits there are among samples, and which are few or missing, in words.

    Args:
        samples: (N, 10) probabilities of each digit.
        reference: (M, 10) the same of real ones.
    """
    shares, due = (
        torch.bincount(rows.argmax(dim=1), minlength=len(DIGITS)).double() / len(rows) for rows in (samples, reference)
    )
    missing = [name for name, has, should in zip(DIGITS, shares, due, strict=True) if has < MIN_SHARE * should]
    few = [
        name for name, has, should in zip(DIGITS, shares, due, strict=True) if MIN_SHARE * should <= has < FEW * should
    ]
    found = len(DIGITS) - len(missing)
    parts = [f"{found} of {len(DIGITS)} digits found" if missing else "all ten digits found"]
    parts += [f"no {_listed(missing, 'or')}"] if missing else []
    parts += [f"few {_listed(few, 'and')}"] if few else []
    return ", ".join(parts)


def _listed(names: list[str], conjunction: str) -> str:
    *first, last = names
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def toy_sentence(toy: Toy, points: Tensor) -> str | None:
    """The sentence on points (N, 2) of a toy; None where a point is not finite."""
    measures = toy_measures(toy, points)
    if not measures:
        return None
    near = f"{measures['in_modes']:.0%} of the points within 3 sigma of a centre"
    return f"{measures['modes']:.0f} of {len(toy.centres)} modes reached, {near}" if "modes" in measures else near
