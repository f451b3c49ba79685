"""How many images each shard gives, remembered across runs, so that to seek is not to read everything again."""

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path

from equipoise.data.shards.shard import Shard, is_url


class Counts:
    """The images of each shard, as far as they are known: one small file a shard, so processes never collide.

    Nothing is wrong without these files, or where they cannot be written: then shards are counted by reading them.
    """

    def __init__(self, folder: Path, shards: list[Shard], held_out: float) -> None:
        self.folder, self.shards, self.held_out = folder, shards, held_out
        self.known: dict[int, int] = {}

    def get(self, number: int) -> int | None:
        """How many images shard `number` gives to training, or None."""
        if number not in self.known:
            with suppress(OSError, ValueError):
                count = int(self._note(number).read_text())
                if count >= 0:
                    self.known[number] = count
        return self.known.get(number)

    def learn(self, number: int, count: int) -> None:
        """Remember a shard's count, now that it has been read to its end."""
        if self.get(number) == count:
            return
        self.known[number] = count
        note = self._note(number)
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = note.with_suffix(f".{secrets.token_hex(4)}")
            fresh.write_text(str(count))
            fresh.replace(note)

    def _note(self, number: int) -> Path:
        shard = self.shards[number]
        place = shard.shown if is_url(shard.place) else str(Path(shard.place).resolve())
        parts = (place, shard.size, shard.version, self.held_out)
        return self.folder / hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
