"""Our training beside lightly's: the same settings, one evaluator."""
