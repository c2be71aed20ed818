"""Terms, one file each, that a run adds to a method's loss; `term_table.TERMS` lists them."""
