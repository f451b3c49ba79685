"""Interface between data and training: batches, each a pure function of its position, wherever the data lies."""

from typing import NamedTuple, Protocol

from torch import Tensor


class FeedBatch(NamedTuple):
    """Images (n, C, H, W), uint8 in [0, 255] or float as networks see them, and their class numbers int64 (n,)."""

    images: Tensor
    labels: Tensor | None


class Feed(Protocol):
    """An endless sequence of images, in another order in every epoch; it has no state, so that resuming is a seek.

    Attributes:
        shape: (C, H, W) of every image.
        fingerprint: changes when any batch would, and only then.
        skipped: name and reason of images that could not be used, as far as these are known.
        notes: what else is there and was not used, and what to know of the labels, in sentences.
        classes: class numbers are from 0 to `classes` - 1; 0 where there are none, or it is not known how many.
        class_names: of the classes 0, 1, .., where the data gives them.
        count: images in an epoch; None where that is known only once all were read, or there is no end to them.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    @property
    def skipped(self) -> list[tuple[str, str]]: ...  # noqa: D102

    @property
    def notes(self) -> list[str]: ...  # noqa: D102

    @property
    def classes(self) -> int: ...  # noqa: D102

    @property
    def class_names(self) -> tuple[str, ...] | None: ...  # noqa: D102

    @property
    def count(self) -> int | None: ...  # noqa: D102

    def draw(
        self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1, readers: int | None = None
    ) -> FeedBatch:
        """Share of process `rank` of `size` in the batch that comes after `images_seen` images.

        That is a pure function of the arguments and of the data. The shares of all processes together are the batch.

        Args:
            batch: images over all processes; like `images_seen`, a multiple of `size`.
            seed: of the order.
            images_seen: by all processes so far.
            rank: the process.
            size: number of processes.
            readers: number of processes whose shares the batch is made of, where the order of the images rests on it,
                as in shards; by default `size`. It divides `batch` and `images_seen`.

        Raises:
            UsageError: the data cannot be read on.
        """
        ...

    def close(self) -> None:
        """End what runs in the background; drawing would begin it anew."""
        ...
