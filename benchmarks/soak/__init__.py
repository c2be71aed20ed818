"""Hours of harm: damaged files, broken sets, killed runs."""
