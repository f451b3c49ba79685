"""The data set of a configuration."""

from equipoise import data
from equipoise.config.data_settings import DataSettings
from equipoise.data.framing import Framing, parse_framing
from equipoise.data.packed.workers import ProgressCallback
from equipoise.data.sources import border_of
from equipoise.errors import UsageError

UNKNOWN = "unknown"
"""The data of weights that were imported."""


def open_dataset(
    config: DataSettings, progress: ProgressCallback | None = None, place: str | None = None
) -> data.Dataset:
    """The data set of a run, at its resolution; read on first use.

    Args:
        config: of the run.
        progress: called while packing, with the images done and their total.
        place: where the data lie, for a run whose working directory may have been another; by default `config.data`.

    Raises:
        UsageError: the weights were imported, and nobody knows what they were trained on; or the data have gone.
    """
    if config.data == UNKNOWN and place in (None, UNKNOWN):
        raise UsageError(
            "imported weights have no data of their own: evaluate them beside --reference; training cannot go on"
        )
    if place is not None:
        check_place(place)
    return data.open_dataset(
        place or config.data,
        config.resolution,
        label=config.label,
        channels=config.channels,
        crop=config.crop,
        fit=config.fit,
        background=config.background,
        held_out=config.held_out,
        test=config.test,
        progress=progress,
    )


def check_place(place: str) -> None:
    """Check that a run's data still lie where they did.

    Raises:
        UsageError: they have gone.
    """
    if data.is_path(place) and data.place_of(place) is None:
        raise UsageError(
            f"the images of this run are no longer at {place}: bring them back, or say where they are now by "
            "`equipoise resume RUN --data PLACE`"
        )


def picture_framing(config: DataSettings, channels: int, place: str | None = None) -> Framing:
    """Framing of pictures from elsewhere that a run is to see as it sees its own.

    Args:
        config: of the run.
        channels: of its images, 1 or 3.
        place: as in `open_dataset`.
    """
    border = border_of(place or config.data)
    return parse_framing(config.resolution, channels, config.fit, config.background, config.crop, border)
