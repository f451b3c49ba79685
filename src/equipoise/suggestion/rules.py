"""The rules: from facts to settings, with a reason each. What their numbers rest on: docs/settings-from-data.md."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from equipoise.data import parse_resolution
from equipoise.data.digests import AUTO_SHARE
from equipoise.errors import UsageError
from equipoise.objectives import Tasks
from equipoise.suggestion.facts import Facts

# All numbers of the rules.
TOO_FEW = 50  # images, of which nothing is learnt but copies
FEW = 1_000  # images below which resolutions are lower
MANY = 10_000  # images from which networks are wider, where the machine has time to spare
SIDES = {"few": (64, 32), "usual": (128, 64, 32)}  # resolutions, the first that images have and there is time for
SMALLEST = 16  # resolution, of images that have none of these
NEARLY = 7 / 8  # of a resolution is enough, as digits of 28 pixels are padded to 32
PHOTOGRAPH = 0.2  # texture from which images are photographs: cars have 0.44, emoji 0.04, drawn faces 0.03, digits 0
WAVELET = 2  # of photographs, and of drawings in colour
GAMMA, PLAIN_GAMMA = 0.85, 1.0  # the former for photographs, and for drawings in colour whose energy is by wavelet
RATE = 1e-3  # of photographs, and of large drawings in small batches; others are learnt as well by the default
WIDTH_RATIO = 1.0  # of photographs; drawings are learnt better by the default, a wider generator
WIDTHS = {"usual": 32, "many": 64}  # of 400 cars, 16 is far worse
SPARE = 4.0  # times in which a run of the usual width must fit into the time, where it is to be wider
LATENTS = (64, 128, 256)  # the first with ...
LATENT_PER_DIMENSION = 2.0  # ... so many numbers for each of the images' dimensions
SYMMETRIC = 0.002  # asymmetry up to which mirrored ones are as likely: cars 0.0004, emoji 0.004, faces 0.05
FLIP_COUNTS = (200, 50_000)  # images from which that can be told, and from which it is no gain
AUGMENT_BELOW = {"photographs": 20_000, "drawings": 5_000}  # images, which are translated; few photographs are scaled
EPOCHS, EPOCHS_OF_PHOTOGRAPHS = 100, 60  # up to which runs were better the longer they were; the latter by BEGAN
FEWEST = 1_000  # images seen, however little time there is
LENGTHS = (80_000, 1_000_000)  # images seen in a run, at least and at most
BATCHES = (64, 32, 16)  # the first of which an epoch has two; of large drawings by `began` from the second on
LARGE = 64 * 64  # pixels from which drawings gain more by twice the steps than these cost
TWO_BATCHES = 2.02  # and a little more, as images are held out by their digests, and not so many to the image
SHARDS = 50_000  # images that shards count as, as they are not counted
MINUTES = 30.0  # that a run may take if nobody says
BUSY = 0.5  # cores kept busy by others, from which times say little of what follows


@dataclass(frozen=True)
class Choice:
    """A setting by its path, such as `objective.gamma`, its value, and why."""

    setting: str
    value: Any
    reason: str

    @property
    def name(self) -> str:
        """The setting's name without its path, as on the command line."""
        return self.setting.rpartition(".")[2].replace("_", "-")

    @property
    def shown(self) -> str:
        """The value, for a person."""
        if isinstance(self.value, bool):
            return "on" if self.value else "off"
        if isinstance(self.value, list):
            return ", ".join(self.value)
        return f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:g}"


def choose(facts: Facts, given: Mapping[str, Any], probe: float, minutes: float | None = None) -> list[Choice]:
    """Settings for images of which `facts` are known.

    Args:
        facts: of the data.
        given: settings by path that stay as they are, on which others depend.
        probe: images a second at 32x32, by networks of the usual width.
        minutes: that training may take; by default MINUTES.
    """
    minutes = minutes or MINUTES
    count = SHARDS if facts.count is None else facts.count
    images = f"{count:,} images" + (" (shards are not counted)" if facts.count is None else "")
    kind, few = "photographs" if facts.texture >= PHOTOGRAPH else "drawings", count < FEW
    began = given.get("objective.name", "began") == "began"
    photographs_by_began = began and kind == "photographs"
    epochs = EPOCHS_OF_PHOTOGRAPHS if photographs_by_began else EPOCHS
    length = round(min(max(epochs * count, LENGTHS[0]), LENGTHS[1]), -3)
    runs = probe * 60 * minutes / given.get("images", length)  # at 32x32, for which there is time
    choices = [_resolution(facts, given, few=few, runs=runs, minutes=minutes)]

    height, width = parse_resolution(given.get("resolution", choices[0].value))
    large_drawings = kind == "drawings" and height * width >= LARGE
    in_small_batches = began and large_drawings and given.keys().isdisjoint({"batch", "lr"})  # which go together

    choices += _energy(facts, given, kind)
    if in_small_batches:
        choices.append(Choice("lr", RATE, "small batches are learnt from slowly"))
    if kind == "photographs":
        choices.append(Choice("lr", RATE, "photographs are learnt better slowly"))
        choices.append(Choice("network.width_ratio", WIDTH_RATIO, "a wider generator learns photographs no better"))

    wide = count >= MANY and runs * 32 * 32 / (height * width) >= SPARE
    why = f"{images} fill no wider networks"
    if count >= MANY:
        why = "many images, and time to spare" if wide else f"wider networks take too much of {minutes:g} minutes"
    choices.append(Choice("network.width", WIDTHS["many" if wide else "usual"], why))

    needed = LATENT_PER_DIMENSION * (facts.dimension or 0.0)
    latent = next((latent for latent in LATENTS if latent >= needed), LATENTS[-1])
    why = f"enough for images of about {facts.dimension:.0f} dimensions" if facts.dimension else "the usual"
    choices.append(Choice("network.latent", latent, why))

    choices.append(_flip(facts, kind, count))
    if count < AUGMENT_BELOW[kind]:
        kinds = ["translation", "scale"] if few and photographs_by_began else ["translation"]
        choices.append(Choice("augment", kinds, f"{images} are soon learnt by heart"))
    held_out = given.get("held_out", "auto")
    own = 0.0 if facts.held_out else AUTO_SHARE  # what the data itself holds out is not counted
    trained = count * (1 - (own if held_out == "auto" else held_out) - given.get("test", 0.0))
    sizes = BATCHES[1:] if in_small_batches else BATCHES
    batch = next((batch for batch in sizes if trained >= TWO_BATCHES * batch), BATCHES[-1])
    if batch < sizes[0]:
        choices.append(Choice("batch", batch, f"two batches an epoch, of {images}"))
    elif batch < BATCHES[0]:
        choices.append(Choice("batch", batch, "at this size more steps are worth more than the time they take"))
    limits = {LENGTHS[0]: ", the least that a run needs", LENGTHS[1]: ", the most that is taken"}
    choices.append(Choice("images", length, f"{length / count:.0f} times {images}{limits.get(length, '')}"))
    return choices


def _resolution(facts: Facts, given: Mapping[str, Any], *, few: bool, runs: float, minutes: float) -> Choice:
    """The largest side that images have, and that takes no longer than so many `runs` of 32x32: work goes by pixels."""
    smaller = min(facts.size)
    has = [side for side in SIDES["few" if few else "usual"] if side * NEARLY <= smaller] or [SMALLEST]
    side = next((side for side in has if (side / 32) ** 2 <= runs), has[-1])
    why = f"images are {facts.size[0]}x{facts.size[1]}"
    if max(facts.size) > smaller and given.get("fit") == "crop":
        why += ", of which the central square is taken"
    if side < has[0]:
        why += f"; {has[0]} takes more than {minutes:g} minutes"
    elif few and smaller * NEARLY >= 2 * side:
        why += "; of few, smaller ones are learnt better"
    return Choice("resolution", side, why)


def _energy(facts: Facts, given: Mapping[str, Any], kind: str) -> list[Choice]:
    """Whether errors are taken by wavelet, and the gamma that goes with it: as pixels, drawings are best at 1."""
    shaded = kind == "photographs" or facts.channels > 1
    choices, wavelet = [], 0
    # Edges are another way to the same, and of squared errors both energies are equal.
    if shaded and not given.get("network.edges") and given.get("network.eta") != 2:
        wavelet = WAVELET
        choices.append(Choice("network.wavelet", wavelet, "outlines tell more than shades, at more than one scale"))
    low = kind == "photographs" or (shaded and given.get("network.wavelet", wavelet) > 0)
    gamma, why = (GAMMA, "grain, the cheapest residue, pays at 1") if low else (PLAIN_GAMMA, "plain images pay below")
    return [Choice("objective.gamma", gamma, f"{kind}, by a texture of {facts.texture:.2f}: {why}"), *choices]


def _flip(facts: Facts, kind: str, count: int) -> Choice:
    """Mirrored images only where they are surely no others: where in doubt, a generator would learn wrong ones."""
    enough, plenty = FLIP_COUNTS
    if kind == "drawings":
        return Choice("flip", False, "mirrored drawings may be wrong ones, as letters are")
    if count < enough:
        return Choice("flip", False, f"{count:,} images do not tell whether mirrored ones are as likely")
    if count >= plenty:
        return Choice("flip", False, "there are enough images")
    if facts.asymmetry > SYMMETRIC:
        return Choice("flip", False, f"mirrored, they would be others: an asymmetry of {facts.asymmetry:.2g}")
    return Choice("flip", True, f"photographs that are as likely mirrored: an asymmetry of {facts.asymmetry:.1g}")


def within(minutes: float, speed: float, length: Choice, once: float = 0.0) -> Choice:
    """The length of a run for the time there is: as long as `length`, or as the machine gets in `minutes`.

    Args:
        minutes: of training, its scores among it.
        speed: images a second, as the run will be.
        length: what the images are good for.
        once: seconds that a run of any length takes beside.
    """
    possible = max(FEWEST, int((60 * minutes - once) * speed / 1_000) * 1_000)
    if possible >= length.value:
        return Choice("images", length.value, f"{length.reason}; all of {minutes:g} minutes would be no better")
    better = math.ceil((length.value / speed + once) / 60)
    short = f", which is short: {better} {'minute is' if better == 1 else 'minutes are'} better"
    short = short if possible < LENGTHS[0] else ""
    most = "as few as are taken" if possible == FEWEST else f"what this machine does in {minutes:g} minutes"
    return Choice("images", possible, f"{most}{short}")


def require_enough(facts: Facts) -> None:
    """Refuse so few images that nothing can be chosen for them.

    Raises:
        UsageError: there are fewer than TOO_FEW.
    """
    if facts.count is not None and facts.count < TOO_FEW:
        batch = facts.count // 4  # which leaves enough for it beside those held out
        all_the_same = f", or train all the same with --preset default --batch {batch}" if batch > 1 else ""
        raise UsageError(
            f"{facts.name} has {facts.count} image{'' if facts.count == 1 else 's'}, of which a GAN learns nothing but "
            f"copies: bring {TOO_FEW} or more, better {FEW:,}{all_the_same}"
        )


def remarks(facts: Facts, tasks: Tasks, *, busy_cores: float, fewer_threads: int | None = None) -> list[str]:
    """What else a user should know, in sentences.

    Args:
        facts: of the data.
        tasks: of the run.
        busy_cores: by other programs, while the machine was timed.
        fewer_threads: that are better beside them, if any.
    """
    notes = []
    if facts.count is not None and facts.count < FEW:
        notes.append(
            f"{facts.count:,} images are few: samples will be much like them, and scores of so few held-out ones rough"
        )
    if facts.classes > 1 and not tasks.classify:
        notes.append(f"the {facts.classes} classes are not used: --classify-d 1 --classify-g 1 learns them, too")
    if busy_cores > BUSY:
        quicker = "without which it is quicker"
        if fewer_threads:
            quicker += f"; beside them it can be by OMP_NUM_THREADS={fewer_threads} before the command"
        notes.append(f"other programs keep {busy_cores:.1f} cores busy, {quicker}")
    return notes
