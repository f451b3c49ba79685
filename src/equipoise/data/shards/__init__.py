"""Shards of WebDataset, read as they come: nothing is packed, nothing is unpacked, and every batch has its place."""

from equipoise.data.shards.broken import StreamBroken
from equipoise.data.shards.fetch import Patience
from equipoise.data.shards.shard import is_stream
from equipoise.data.shards.source import shards
from equipoise.data.shards.stream import Stream, open_stream

__all__ = ["Patience", "Stream", "StreamBroken", "is_stream", "open_stream", "shards"]
