"""Small datasets of random runs, as recordings write them; tests get ``record`` as a fixture."""

from dataclasses import replace

import torch
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.training.dataset.folder import run_key
from diffusion_probe.training.dataset.header import Header
from diffusion_probe.training.dataset.projection import dataset_projection, fit_projection, keep_projection
from diffusion_probe.training.dataset.run_record import RunRecord
from diffusion_probe.training.dataset.writing import DatasetWriter, recorded_moments, run_tensors

ROWS, BLOCKS, CHANNELS, RAW = 6, 2, 4, 5
PERCENTS = (0.1, 0.2)


def record(folder, prompts=24, seed=0, family="FLUX", name="prompt", rows=ROWS, **changes):
    """A dataset whose label is the mean of the first latent channel, which noise hides the earlier the more."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    fitted, there = fit_projection(noise(8, RAW, 4, 4)), dataset_projection(folder)
    projection = keep_projection(folder, fitted) if there is None else there
    writer = DatasetWriter(folder, Header(family, ("double 0", "double 1"), len(projection)))
    for number in range(prompts):
        prompt = f"{name} {number}"
        label = noise(rows)
        final = label[:, None, None, None].expand(rows, CHANNELS, 6, 4)
        moments = []
        for step, percent in enumerate(PERCENTS, start=1):
            level = 0.3 / percent * 0.1
            hidden = final + level * noise(rows, 1, 1, 1)
            maps = torch.sigmoid(hidden[:, :1, :3, :2, None] + torch.zeros(5)).permute(0, 1, 4, 2, 3) / 10
            moments.append(
                [
                    Features(
                        family=family,
                        moment=f"{percent:.0%}",
                        step=step,
                        sigma=1 - percent,
                        percent=percent,
                        blocks=("double 0", "double 1"),
                        attention=maps[row].expand(BLOCKS, -1, -1, -1).half(),
                        words=(Word("a", (1,)), Word("circle", (2, 3))),
                        denoised=hidden[row],
                        latent=hidden[row].half(),
                        activation=hidden[row][:1, :3, :2].expand(len(projection), -1, -1).half(),
                        text=torch.ones(5, 7).half() * number / prompts,
                    )
                    for row in range(rows)
                ]
            )
        recorded = recorded_moments(moments)
        run = RunRecord(
            key=run_key(prompt),
            prompt=prompt,
            seeds=tuple(range(rows)),
            steps=10,
            words=("a", "circle"),
            moments=recorded,
            labels={"reward": tuple(label.tolist()), "other": tuple((2 * label).tolist())},
            others={f"{name} {(number + 1) % prompts}": tuple((-label).tolist())},
        )
        writer.add(replace(run, **changes), run_tensors(moments, final))
    return folder
