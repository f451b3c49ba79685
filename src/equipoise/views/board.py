"""TensorBoard's files of a run."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard import SummaryWriter

from equipoise.reading import is_text

PREFIX = "events.out.tfevents."  # of TensorBoard's files, before the time


class NoBoard:
    """In place of TensorBoard's files where it cannot write them: takes all that it takes, and writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_settings: None


_THREAD = "_AsyncWriterThread"  # a private name, which may go: then a full disk is told with a traceback again


class _WritingThread(getattr(event_file_writer, _THREAD, threading.Thread)):  # type: ignore[misc]  # it has no types
    """TensorBoard's thread that writes a file, without the traceback that it prints where the disk refuses."""

    def run(self) -> None:
        with suppress(OSError):  # which it has noted: flush() raises it again, for whoever says it in a sentence
            super().run()


setattr(event_file_writer, _THREAD, _WritingThread)


def open_board(folder: Path, purge_step: int) -> SummaryWriter | NoBoard:
    """TensorBoard's files in `folder`, where steps from `purge_step` on are to be forgotten.

    A `NoBoard` where the folder's name is no text in UTF-8, which TensorBoard cannot write.
    """
    if not is_text(folder):
        return NoBoard()
    _put_in_front(sorted(folder.glob(f"{PREFIX}*")))
    return SummaryWriter(str(folder), purge_step=purge_step)


def _put_in_front(written: list[Path]) -> None:
    """Rename the files written so far, if one that is opened now would not come after them.

    TensorBoard reads files in the order of their names, which begin with the seconds of the clock: one that was set
    back, or a start in the same second, would hide what is written from now on.
    """
    if written and written[-1].name >= f"{PREFIX}{int(time.time()):010d}":
        for place, file in enumerate(written):
            file.rename(file.with_name(f"{PREFIX}{place:010d}{file.name.removeprefix(PREFIX)[10:]}"))
