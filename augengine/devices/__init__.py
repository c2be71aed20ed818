"""Services of a GPU and its host: streams, uploads, free memory, shared memory."""
