"""Fused losses: operators for autograd and torch.compile; in chunks on a CPU, Triton on CUDA."""
