"""Shards behind an address: requests, retries, the fetched index, reads of byte ranges."""
