"""Work shared out to processes: one job a shard, and workers that end with their parent."""
