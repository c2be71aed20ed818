"""What a GPU and its host offer: streams, uploads, free memory, memory that is shared."""
