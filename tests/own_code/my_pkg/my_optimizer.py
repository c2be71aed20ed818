"""The sign of the momentum, as Lion without its second average."""

import torch


class Signs(torch.optim.Optimizer):
    """x -= lr (sign(m) + decay x)."""

    def __init__(self, params, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.lerp_(p.grad, 1 - group["momentum"])
                p.sub_(group["lr"] * (m.sign() + group["weight_decay"] * p))
