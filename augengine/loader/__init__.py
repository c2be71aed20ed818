"""Batches ahead of the consumer, on threads; views in one call, from shards or from memory."""
