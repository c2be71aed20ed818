"""Several sets as one: their shares of an epoch, their order, their samples by one number."""
