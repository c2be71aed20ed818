"""A run without --config: facts of data and machine, the rule (`fit_rule.py`), its reasons."""
