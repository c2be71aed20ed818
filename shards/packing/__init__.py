"""A source of images to shards: transcode, write, stage, publish; `pack.pack` is the way in."""
