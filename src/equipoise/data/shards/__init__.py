"""WebDataset shards, streamed: nothing is packed or unpacked, and every batch is a function of seed and position.

From the outside in: `stream` gives batches out of shuffled blocks (`blocks`), made ahead in a thread (`prefetch`) from
samples (`samples`) of tar archives (`tar`), which are read in turn (`order`) from files or over HTTP (`fetch`).
"""

from equipoise.data.shards.broken import StreamBroken
from equipoise.data.shards.fetch import RetryPolicy
from equipoise.data.shards.shard import is_stream
from equipoise.data.shards.source import shards
from equipoise.data.shards.stream import Stream, open_stream

__all__ = ["RetryPolicy", "Stream", "StreamBroken", "is_stream", "open_stream", "shards"]
