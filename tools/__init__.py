"""Commands: pack, check, show, profile."""
