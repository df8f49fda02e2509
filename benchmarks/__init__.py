"""One module per question: ``python -m benchmarks.NAME … --seed S --out FILE.json``."""

from runtime import loader

loader.use_comfy()
