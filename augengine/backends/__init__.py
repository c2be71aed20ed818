"""What makes a plan happen: dali, kornia, fused; `table.create_backend` picks one by name."""
