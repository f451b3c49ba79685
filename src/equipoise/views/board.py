"""TensorBoard's files of a run."""

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from equipoise.reading import is_text


class NoBoard:
    """In place of TensorBoard's files where it cannot write them: takes all that it takes, and writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_settings: None


def open_board(folder: Path, purge_step: int) -> SummaryWriter | NoBoard:
    """TensorBoard's files in `folder`, where steps from `purge_step` on are to be forgotten.

    A `NoBoard` where the folder's name is no text in UTF-8, which TensorBoard cannot write.
    """
    return SummaryWriter(str(folder), purge_step=purge_step) if is_text(folder) else NoBoard()
