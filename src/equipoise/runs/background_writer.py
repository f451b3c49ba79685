"""Checkpoints written beside training: copied in an instant, on the disk a little later."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from equipoise.runs.run import Run


class BackgroundWriter:
    """Writes the checkpoints of a run, each in a thread, one after the other; a context that waits for the last."""

    def __init__(self, run: Run) -> None:
        self._run, self._last = run, Future[Any]()
        self._last.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait_for([self._last])

    def save(
        self,
        images: int,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        kept_before: Sequence[int] = (),
    ) -> None:
        """Copy `tensors` as they are now, and begin to write them; returns before they are on the disk.

        Args:
            images: seen so far, which name the checkpoint.
            tensors: everything that moves, by name.
            facts: plain JSON, which must not change any more.
            kept_before: as `Run.save_checkpoint` has it.

        Raises:
            WriteError: the checkpoint before this one could not be written.
        """
        self.wait()  # one copy in memory at a time, and files in order
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

        # A thread that has computed anything keeps helpers of its own by OpenMP while it lives, and where helpers are
        # more than cores, all sleep between operations instead of spinning: two threads train no faster than one.
        thread = ThreadPoolExecutor(1)
        self._last = thread.submit(self._run.save_checkpoint, images, copies, facts, kept_before)
        thread.shutdown(wait=False)  # it ends once it has written

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk.

        Raises:
            WriteError: it could not be written.
        """
        self._last.result()

    def check(self) -> None:
        """Raise what went wrong with the last checkpoint, if that is known by now; without waiting.

        Raises:
            WriteError: it could not be written.
        """
        if self._last.done():
            self._last.result()
