"""Muon optimiser for processors that compute bfloat16 slowly."""

import torch
from torch import Tensor


class SinglePrecisionMuon(torch.optim.Muon):
    """Muon of torch for two-dimensional parameters, with the matrix products of its update in float32.

    torch casts them to bfloat16, which a processor without AVX-512 multiplies seventy times slower. Its state is that
    of torch's Muon, so that a training goes on with either.
    """

    @torch.no_grad()
    def step(self, closure=None):
        """Take one optimization step. Source: Jordan et al. 2024, Muon, with the learning rate as in AdamW."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict) -> None:
        state, grad = self.state[parameter], parameter.grad
        momentum = state.setdefault("momentum_buffer", torch.zeros_like(grad))
        momentum.lerp_(grad, 1 - group["momentum"])
        direction = grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        direction = orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        if group["adjust_lr_fn"] == "match_rms_adamw":
            scale = 0.2 * max(parameter.shape) ** 0.5
        else:
            scale = max(1, parameter.shape[0] / parameter.shape[1]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction, alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Make the singular values of a matrix ``[rows, columns]`` about 1, by Newton and Schulz's iteration."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide
