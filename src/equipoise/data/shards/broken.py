"""The error that ends a stream; its message says which shard, what happened, and what to do."""

from equipoise.errors import UsageError


class StreamBroken(UsageError):  # noqa: N818
    """A shard cannot be read on; training goes on from a checkpoint once it can be."""
