"""Keys of the config that have a file of their own, and the strict reading of any of them."""
