"""PNG files without the texts and colour profiles that Pillow refuses for their size."""

import struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks on which no pixel depends
AROUND = 12  # bytes of a chunk beside its data: length, type, checksum


def without_texts(stored: bytes) -> bytes | None:
    """The same PNG without its texts and its colour profile; None where it has none, or is no PNG.

    The chunks are those of the PNG specification, https://www.w3.org/TR/png-3/#5Chunk-layout. Nothing is unpacked.
    """
    if not stored.startswith(SIGNATURE):
        return None
    kept, start = [SIGNATURE], len(SIGNATURE)
    while start + AROUND <= len(stored):
        length, kind = struct.unpack_from(">I4s", stored, start)
        end = start + AROUND + length
        if kind not in TEXTS:
            kept.append(stored[start:end])
        start = end
    bare = b"".join([*kept, stored[start:]])
    return bare if len(bare) < len(stored) else None
