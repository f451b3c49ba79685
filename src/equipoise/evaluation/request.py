"""What an evaluation is asked to do: the settings of the function and the flags of the command alike."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass
from tyro.constructors import PrimitiveConstructorSpec

from equipoise.config.numbers import Count, CountOrZero, Resolution, Seed
from equipoise.errors import UsageError
from equipoise.reading import expand_home
from equipoise.runs.run import CONFIG, Run

Draws = Annotated[Count, Field(le=100)]
"""Times that as many samples are drawn and scored."""
Split = Literal["held-out", "test", "train", "all"]


def _parse_names(names: Any) -> Any:
    """Names from text with commas between; anything else is returned unchanged."""
    return tuple(name.strip() for name in names.split(",") if name.strip()) if isinstance(names, str) else names


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_names),
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAMES",
        instance_from_str=lambda arguments: _parse_names(arguments[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(value)],
    ),
]
"""Names, on the command line with commas between."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class Settings:
    """How images are scored.

    Raises:
        pydantic.ValidationError: a value of the wrong type or out of range.
    """

    features: str = "auto"
    """Feature extractor: inception, dinov2-vits14, dinov2-vitb14, dinov2-vitl14, clip-vitl14-336, effnet-lite0, sscd,
    digits or pixels; auto takes digits for the bundled digits, else effnet-lite0 where it is installed."""
    weights: Path | None = None
    """File of the extractor's weights, if it is not in the usual place."""
    metrics: Names | None = None
    """Names of metrics, or all; by default those that apply, but not reconstruction, a long search, nor fid-infinity,
    fifteen FIDs, nor gaussian-mmd, nor modes where the classes are not those of the data."""
    count: Count = 5000
    """Number of images of each set, at most."""
    draws: Draws = 3
    """Number of times that as many samples are drawn and scored: a score is their mean and standard deviation. One
    takes a third of the time. Of images on the disk there are as many draws as they suffice for, none shared."""
    split: Split = "held-out"
    """Part of the run's data to compare with."""
    resolution: Resolution | None = None
    """Resolution to which images are brought that are no run's; by default they must be of one size."""
    crop: CountOrZero | None = None
    """Side in pixels of the centred square that is taken first of images that are no run's, 0 for none; by default as
    the run does that they are compared with."""
    seed: Seed = 0
    """Seed of the samples, and of every random choice."""
    ema: bool = True
    """Use the moving average of the generator's weights."""
    best: bool = False
    """Use the checkpoint with the best KID (train with --score-every), not the last."""
    suspects: Path | None = None
    """Picture (.png) to write of the samples that lie nearest to training images, each beside its nearest one."""


@dataclass(frozen=True, kw_only=True)
class Request(Settings):
    """What is scored, and how.

    Attributes:
        images: a run's folder, or images of any kind.
        reference: the same, for what to compare with; by default the run's own data.
    """

    images: str
    reference: str | None = None

    @property
    def files(self) -> list[Path | str]:
        """What is read, by name."""
        return [each for each in (self.images, self.reference, self.weights) if each is not None]


def open_run(name: str) -> Run | None:
    """The run in the folder `name`, or None if that is no run's folder.

    Raises:
        UsageError: its configuration cannot be read, or the folder may not be.
    """
    path = expand_home(name)
    if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):  # noqa: PTH112  # Path raises PermissionError
        raise UsageError(f"no permission to read {path}: change its mode or owner")
    return Run.open(path) if (path / CONFIG).is_file() else None
