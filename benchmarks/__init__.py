"""One module per question: ``python -m benchmarks.NAME … --seed S --out FILE.json``."""

from training.client import loader

loader.use_comfy()
