"""The index of a folder of tars: every sample of every shard by one number, opened in an instant."""

from shards.store import write_index

__all__ = ["write_index"]
