"""Shards of WebDataset, read as they come: nothing is packed, nothing is unpacked, and every batch has its place."""

from equipoise.data.stream.broken import StreamBroken
from equipoise.data.stream.fetch import Patience
from equipoise.data.stream.shard import is_stream
from equipoise.data.stream.source import shards
from equipoise.data.stream.stream import Stream, open_stream

__all__ = ["Patience", "Stream", "StreamBroken", "is_stream", "open_stream", "shards"]
