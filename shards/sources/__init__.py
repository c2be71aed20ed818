"""Kinds of SOURCE that can be packed, one file each; `detect.open_source` tells them apart."""
