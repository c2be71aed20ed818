"""An epoch without an image: its run over ranks, its shuffle, its memory, its tables."""
