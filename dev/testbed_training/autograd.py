"""Autograd through ComfyUI's modules as they are.

Their blocks write ``x += f(norm(x))``, in place, to save memory in sampling; the norm's gradient
then finds its input changed. (``torch.autograd.graph.allow_mutation_on_saved_tensors`` would cure
that too, but it tells tensors apart by address and version, and after some hundred steps an address
used again made it hand out the wrong tensor.)
"""

from collections.abc import Iterator
from contextlib import contextmanager

import comfy.model_management
import torch
from torch.overrides import TorchFunctionMode


class _OutOfPlace(TorchFunctionMode):
    """Mode in which ``a += b`` makes a new tensor, and the old one stays as it is.

    So does ``a.add_(b)``, whose caller would not get the sum: ``differentiable`` keeps the one function
    that contains it, ``attention_basic``, out of use, and the tests compare with the plain forward.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.add_:  # what ``+=`` arrives as
            func = torch.Tensor.add
        return func(*args, **(kwargs or {}))


@contextmanager
def differentiable() -> Iterator[None]:
    """Make forward passes of ComfyUI's FLUX, SDXL and CLIP differentiable while the block runs.

    ``in_training`` makes RoPE take its plain path (the fused kernel has no gradient), and CLIP takes
    PyTorch's attention. Both flags are as before afterwards.
    """
    management = comfy.model_management
    before = management.in_training, management.ENABLE_PYTORCH_ATTENTION
    management.in_training = management.ENABLE_PYTORCH_ATTENTION = True
    try:
        with _OutOfPlace():
            yield
    finally:
        management.in_training, management.ENABLE_PYTORCH_ATTENTION = before
