"""Backends carry plans out: dali, kornia, fused; `create_backend` picks one by name."""
