"""Measurements of the pack, one module for each question: ``python -m benchmarks.NAME … --seed S --out FILE.json``.

Results are kept in ``results``; ``benchmarks.tables`` writes pages and model cards from them.
"""

from training.client import loader

loader.use_comfy()
