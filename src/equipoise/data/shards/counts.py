"""Numbers of images in shards, noted across runs, so that a seek does not read everything again."""

import hashlib
from contextlib import suppress
from pathlib import Path

from equipoise.data.cache import write_note
from equipoise.data.shards.shard import Shard, is_url


class ShardCounts:
    """Numbers of images in shards, as far as they are known: one note a shard, so that processes never collide.

    Nothing depends on the notes: where there are none, shards are counted by reading them.
    """

    def __init__(self, folder: Path, shards: list[Shard], held_out: float) -> None:
        self.folder, self.shards, self.held_out = folder, shards, held_out
        self.known: dict[int, int] = {}

    def get(self, number: int) -> int | None:
        """Images that shard `number` gives to training, or None."""
        if number not in self.known:
            with suppress(OSError, ValueError):
                count = int(self._note(number).read_text())
                if count >= 0:
                    self.known[number] = count
        return self.known.get(number)

    def set(self, number: int, count: int) -> None:
        """Note a shard's count, after it was read to its end."""
        if self.get(number) != count:
            self.known[number] = count
            write_note(self._note(number), str(count))

    def _note(self, number: int) -> Path:
        shard = self.shards[number]
        place = shard.display_name if is_url(shard.place) else str(Path(shard.place).resolve())
        parts = (place, shard.size, shard.version, self.held_out)
        return self.folder / hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
