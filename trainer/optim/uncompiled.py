"""torch.optim's optimizers, and a base of our own, without torch's compiler.

torch wraps some of their methods, so that a compiled loop leaves them alone, and a wrapper imports
the whole compiler at its first call: more than a second of CPU time and 146 MB in every process
(torch 2.13). `inspect.unwrap` gives the method below, which is what the wrapper calls.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch


class Uncompiled(torch.optim.Optimizer):
    """The base of an optimizer: torch's own, with the methods below their wrappers."""

    add_param_group: Any = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad: Any = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict: Any = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict: Any = unwrap(torch.optim.Optimizer.load_state_dict)


class WithMomentum(Uncompiled):
    """The base of ours: a momentum for every parameter, which `update` changes with it."""

    # One step of a group: its parameters, their gradients and momenta (zeros at first), then what
    # the group has under the names of `rates`. Parameters and momenta change in place.
    update: Callable[..., None]
    rates: tuple[str, ...]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Update every parameter that has a gradient; one without keeps its momentum."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            grads, buffers = [p.grad for p in params], [self._momentum_buffer(p) for p in params]
            self.update(params, grads, buffers, **{key: group[key] for key in self.rates})
        return loss

    def _momentum_buffer(self, param: torch.Tensor) -> torch.Tensor:
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        return state["momentum_buffer"]


class SGD(Uncompiled, torch.optim.SGD):
    """torch.optim.SGD."""

    # The wrapper of a step turns gradients off, besides what it says to the compiler.
    step: Any = torch.no_grad()(unwrap(torch.optim.SGD.step))


class AdamW(Uncompiled, torch.optim.AdamW):
    """torch.optim.AdamW."""

    step: Any = torch.no_grad()(unwrap(torch.optim.AdamW.step))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A checkpoint's state; the form of the step stays that of this device."""
        form = {key: self.defaults[key] for key in ("fused", "foreach")}
        groups = [{**group, **form} for group in state_dict["param_groups"]]
        # Before and not after: a fused step keeps its counts on the device, another on the host.
        super().load_state_dict({**state_dict, "param_groups": groups})


class LBFGS(Uncompiled, torch.optim.LBFGS):
    """torch.optim.LBFGS."""
