"""The index of tars on a disk: scan them, keep the result, notice that they have changed."""
