"""One training stage: steps, loss curve, checkpoints, resuming. Knows nothing of what is trained.

Every batch is drawn from (seed, step), never from a running generator, so a resumed run continues
exactly as if it had not been interrupted.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm import trange

CHECKPOINT_EVERY = 250
WARMUP_STEPS = 50


def generator_for(seed: int, step: int) -> torch.Generator:
    """The random stream of one step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then a cosine down to 1 % of the peak."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Stage:
    """A module under training with its AdamW state and an exponential moving average of its weights.

    Args:
        path: checkpoint file (safetensors), written every ``CHECKPOINT_EVERY`` steps and at the end.
        module: what is trained; after ``run`` it holds the averaged weights.
        loss_of: (step) → scalar loss, from the module's current weights.
        settings: what the run was asked to do; a checkpoint made with other settings is refused.
        average: decay of the moving average per step; 0 for none.
    """

    def __init__(
        self,
        path: Path,
        module: torch.nn.Module,
        loss_of: Callable[[int], torch.Tensor],
        steps: int,
        peak_rate: float,
        settings: dict[str, object],
        average: float = 0.0,
    ) -> None:
        self.path, self.module, self.loss_of = path, module, loss_of
        self.steps, self.peak_rate, self.average = steps, peak_rate, average
        self.settings = json.dumps({**settings, "steps": steps, "peak_rate": peak_rate}, sort_keys=True)
        self.parameters = dict(module.named_parameters())
        self.averaged = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.losses: list[float] = []

    def save(self) -> None:
        """Write weights, average, optimizer moments and the loss curve; atomic, so an interruption can't spoil it."""
        tensors = {f"average.{name}": value for name, value in self.averaged.items()}
        for name, parameter in self.parameters.items():
            tensors[f"weight.{name}"] = parameter.detach()
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = value
        tensors["losses"] = torch.tensor(self.losses)
        partial = self.path.with_suffix(".partial")
        save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, partial, {"settings": self.settings})
        partial.replace(self.path)

    def resume(self) -> None:
        """Continue from the checkpoint if there is one.

        Raises:
            ValueError: it was made with other settings.
        """
        if not self.path.is_file():
            return
        with safe_open(self.path, "pt") as file:
            found = file.metadata()["settings"]
            if found != self.settings:
                raise ValueError(
                    f"The checkpoint {self.path} was made with {found}, now asked: {self.settings}. "
                    "Use the same settings to resume, or another --out."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.losses = tensors["losses"].tolist()
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[f"weight.{name}"])
            self.averaged[name].copy_(tensors[f"average.{name}"])
            self.optimizer.state[parameter] = {
                key: tensors[f"optimizer.{key}.{name}"].to("cpu" if key == "step" else parameter.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }

    def run(self, until: int | None = None) -> list[float]:
        """Train to the end (or to step ``until``), resuming first. Returns the loss of every step."""
        self.resume()
        end = min(self.steps, until or self.steps)
        start = len(self.losses)
        progress = trange(start, end, initial=start, total=end, desc=self.path.stem, mininterval=2)
        for step in progress:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(step, self.steps, self.peak_rate)
            # ComfyUI's blocks update their inputs in place; this lets autograd run through them as they are.
            with torch.autograd.graph.allow_mutation_on_saved_tensors():
                loss = self.loss_of(step)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            self.optimizer.step()
            # A young average would remember the random start: let the decay grow with the step.
            decay = min(self.average, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.averaged.values()), [p.detach() for p in self.parameters.values()], 1 - decay
                )
            self.losses.append(loss.item())
            if step % 20 == 0:
                progress.set_postfix(loss=f"{sum(self.losses[-50:]) / len(self.losses[-50:]):.4f}")
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == end:
                self.save()
        for name, parameter in self.parameters.items():
            parameter.data.copy_(self.averaged[name])
        return self.losses
