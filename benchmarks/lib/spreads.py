"""Constants of Combine Rewards, from the result file of ``benchmarks.judges``."""

import json
from pathlib import Path

from diffusion_probe.engine.rewards.spreads import FILE

from .pages.page import FOLDER, NAMES

SOURCE = "judges.json"


def spreads_texts(results: Path = FOLDER) -> dict[Path, str]:
    """Return the text of the pack's file of constants, by its path."""
    record = json.loads((results / SOURCE).read_text())
    rewards = {
        reward: {
            NAMES[model]: {key: [level[key] for level in levels] for key in ("percent", "mean", "spread")}
            for model, levels in models.items()
        }
        for reward, models in record["spreads"].items()
    }
    first, last = record["design_prompts"]
    source = (
        f"previews and finished images of FLUX and SDXL at 512 x 512, {last - first + 1} prompts with "
        f"{record['images']} images each (benchmarks/results/{SOURCE})"
    )
    return {FILE: json.dumps({"source": source, "rewards": rewards}, indent=1) + "\n"}
