"""Shards behind an address: images a second over the loopback."""
