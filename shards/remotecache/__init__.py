"""Whole remote shards on a local disk: the bounded cache, reads from it, fetching ahead."""
