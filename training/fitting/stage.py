"""Training stage of any module: steps, loss curve, checkpoints and resuming.

Every batch is drawn from (seed, step), never from a running generator, so a resumed run continues
exactly as if it had not been interrupted.
"""

import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import trange

from .checkpoints import Checkpoint, load_checkpoint, metadata_of, save_checkpoint
from .precision import bfloat16_is_fast

CHECKPOINT_EVERY = 250
"""Number of steps between two checkpoints."""

OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
"""Names of the tensors in the state of AdamW and of Muon."""

SETTINGS = "settings"
"""Key of the settings in a checkpoint's metadata."""

WARMUP_STEPS = 50
RESTART_SHARE = 0.75
"""Peak of the learning rate after a restart, as a share of the first."""

_INSIDE = re.compile(r"(blocks|layers|stages|looking|seeing|reading|judging)\.\d+\.")


def generator_for(seed: int, step: int) -> torch.Generator:
    """Return the random generator of one step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def learning_rate(step: int, steps: int, peak: float, restart: int | None = None) -> float:
    """Compute the learning rate of a step: a linear warm-up, then a cosine down to 1 % of the peak.

    With ``restart`` the first cosine ends at that step and a second, from three quarters of the
    peak, at ``steps`` (SGDR): there is a usable model early, and the first part of a run does not
    depend on how long the whole is.
    """
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    start, end = WARMUP_STEPS, min(restart or steps, steps)
    if step >= end:
        start, end, peak = end, steps, RESTART_SHARE * peak
    progress = (step - start) / max(1, end - start)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def optimizers_for(
    parameters: dict[str, torch.nn.Parameter], peak_rate: float, matrix_rate: float
) -> list[torch.optim.Optimizer]:
    """Make AdamW, and with a ``matrix_rate`` Muon for the weight matrices inside blocks and layers (see ``as_matrix``).

    Muon halves the steps the little FLUX needs (measured: loss .26 after 500, AdamW .38).
    """
    inside = [name for name, p in parameters.items() if matrix_rate and p.ndim == 2 and _INSIDE.search(name)]
    rest = [p for name, p in parameters.items() if name not in set(inside)]
    chosen: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)]
    if inside:
        matrices = [parameters[name] for name in inside]
        chosen.append(
            _muon(matrices[0].device)(matrices, lr=matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        )
    return chosen


def _muon(device: torch.device) -> Callable[..., torch.optim.Optimizer]:
    if bfloat16_is_fast(device):
        return torch.optim.Muon
    from .muon import SinglePrecisionMuon  # an older torch has no Muon to derive it from

    return SinglePrecisionMuon


def as_matrix(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    """Return a parameter as optimizers get it: a convolution's weight as a matrix [out, in·h·w] of the same storage."""
    return torch.nn.Parameter(parameter.detach().view(len(parameter), -1)) if parameter.ndim > 2 else parameter


@dataclass(frozen=True)
class Plan:
    """Steps and rates of a training stage.

    Attributes:
        steps: number of training steps.
        peak_rate: peak learning rate of AdamW.
        matrix_rate: peak learning rate of Muon for weight matrices; 0: AdamW trains them too.
        restart: step at which the learning rate starts its second cosine.
        average: decay of the moving average of the weights per step; 0: no average.
    """

    steps: int
    peak_rate: float
    matrix_rate: float = 0.0
    restart: int | None = None
    average: float = 0.0


class Stage:
    """Module under training, with the state of its optimizers and an exponential moving average of its weights.

    Args:
        path: checkpoint file (safetensors), written every ``CHECKPOINT_EVERY`` steps and at the end.
        module: to be trained; after ``run`` it holds the averaged weights.
        loss_of: (step) → scalar loss, from the module's current weights.
        plan: steps and rates.
        settings: others of the run; a checkpoint made with other settings is refused.
    """

    def __init__(
        self,
        path: Path,
        module: torch.nn.Module,
        loss_of: Callable[[int], torch.Tensor],
        plan: Plan,
        settings: dict[str, object],
    ) -> None:
        self.path, self.module, self.loss_of, self.plan = path, module, loss_of, plan
        if plan.matrix_rate:
            settings = {**settings, "matrix_rate": plan.matrix_rate}
        self.settings = json.dumps({**settings, "steps": plan.steps, "peak_rate": plan.peak_rate}, sort_keys=True)
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimized = {name: as_matrix(p) if plan.matrix_rate else p for name, p in self.parameters.items()}
        self.optimizers = optimizers_for(self.optimized, plan.peak_rate, plan.matrix_rate)
        self.peaks = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
        self.losses: list[float] = []

    def save(self) -> None:
        """Write weights, average, optimizer states and the loss curve into a checkpoint."""
        tensors = {f"average.{name}": value for name, value in self.averaged.items()}
        for name, parameter in self.parameters.items():
            tensors[f"weight.{name}"] = parameter.detach()
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(self.optimized[name], {}).items():
                    tensors[f"optimizer.{key}.{name}"] = value
        tensors["losses"] = torch.tensor(self.losses)
        save_checkpoint(self.path, tensors, {SETTINGS: self.settings})

    def resume(self) -> None:
        """Continue from the newest checkpoint that can be read, if there is one.

        Raises:
            ValueError: it was made with other settings.
        """
        earlier = next((each[SETTINGS] for each in metadata_of(self.path) if SETTINGS in each), self.settings)
        if earlier != self.settings:
            raise ValueError(
                f"The checkpoint {self.path} was made with the settings {earlier}, and this training has "
                f"{self.settings}. Use the same settings to resume, or another --out."
            )
        checkpoint = load_checkpoint(self.path, self._is_whole)
        if checkpoint is None:
            if self.path.exists():
                logging.warning(f"{self.path.name} is damaged, and so is the previous one: the training starts anew.")
            return
        tensors = checkpoint[1]
        self.losses = tensors["losses"].tolist()
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[f"weight.{name}"])
            self.averaged[name].copy_(tensors[f"average.{name}"])
            optimized = self.optimized[name]
            for optimizer in self.optimizers:
                if any(optimized is p for p in optimizer.param_groups[0]["params"]):
                    keys = [key for key in OPTIMIZER_STATE if f"optimizer.{key}.{name}" in tensors]
                    moments = {key: tensors[f"optimizer.{key}.{name}"] for key in keys}
                    optimizer.state[optimized] = {k: v if k == "step" else v.to(optimized) for k, v in moments.items()}

    def _is_whole(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint has the weights of this module, settings and losses."""
        wanted = {
            f"{kind}.{name}": parameter.shape
            for name, parameter in self.parameters.items()
            for kind in ("weight", "average")
        }
        shapes = {name: tensor.shape for name, tensor in checkpoint[1].items()}
        return SETTINGS in checkpoint[0] and "losses" in shapes and wanted.items() <= shapes.items()

    def run(
        self, until: int | None = None, watch: Callable[[int, float], bool] = lambda step, loss: False
    ) -> list[float]:
        """Train to the end (or to step ``until``), resuming first, and return the loss of every step.

        Args:
            watch: called after each step with the number of steps done and the loss; True ends the training.
                If it raises, a checkpoint is written first.
        """
        self.resume()
        end = min(self.plan.steps, until or self.plan.steps)
        start = len(self.losses)
        progress = trange(start, end, initial=start, total=end, desc=self.path.stem, mininterval=2)
        for step in progress:
            for optimizer, peak in zip(self.optimizers, self.peaks):
                optimizer.param_groups[0]["lr"] = learning_rate(step, self.plan.steps, peak, self.plan.restart)
            loss = self.loss_of(step)
            for parameter in self.parameters.values():
                parameter.grad = None
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            for name, parameter in self.parameters.items():
                if self.optimized[name] is not parameter:
                    self.optimized[name].grad = parameter.grad.reshape(len(parameter), -1)
            for optimizer in self.optimizers:
                optimizer.step()
            # A young average would remember the random start: let the decay grow with the step.
            update = get_ema_multi_avg_fn(min(self.plan.average, (1 + step) / (10 + step)))
            update(list(self.averaged.values()), list(self.parameters.values()), step)
            self.losses.append(loss.item())
            if step % 20 == 0:
                progress.set_postfix(loss=f"{sum(self.losses[-50:]) / len(self.losses[-50:]):.4f}")
            try:
                enough = watch(step + 1, self.losses[-1])
            except BaseException:
                self.save()
                raise
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == end or enough:
                self.save()
            if enough:
                break
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self.averaged[name])
        return self.losses
