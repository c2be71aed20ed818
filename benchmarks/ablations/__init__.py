"""The papers' ablations, small: what they found, and whether it holds at this size."""
