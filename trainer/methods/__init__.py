"""Methods, one file each; `table.METHODS` lists them."""
