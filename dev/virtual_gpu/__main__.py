"""A process with a virtual card: runs the trials that come as JSON on its input, and writes a line of JSON for each.

``dev.virtual_gpu.process`` starts it: ComfyUI looks for a card once, when it is imported.
"""

import json
import logging
import sys
from dataclasses import fields


def main() -> None:
    """Run the trials, one after another, on one card of each trial's size."""
    from training.client import loader

    loader.use_pack()
    from diffusion_probe.dev.virtual_gpu.card import Card
    from diffusion_probe.dev.virtual_gpu.driver import COMFY_ARGUMENTS, plugged_in
    from diffusion_probe.dev.virtual_gpu.tensors import OnCard

    card = Card(24)
    with plugged_in(card), OnCard(card):
        loader.device_arguments = lambda: list(COMFY_ARGUMENTS)
        loader.use_comfy()
        import torch
        from diffusion_probe.dev.virtual_gpu.trial import Trial, measured

        logging.getLogger().setLevel(logging.ERROR)
        names = {field.name for field in fields(Trial)}
        for line in sys.stdin:
            values = json.loads(line)
            with torch.inference_mode():
                result = measured(Trial(**{name: value for name, value in values.items() if name in names}), card)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
