"""Pages of ``docs/results``, a module for each topic; ``PAGES`` are all of them in the order of the index."""

from . import (
    capture,
    exactness,
    probe_accuracy,
    probe_learning,
    prompt_loop,
    rewards,
    seed_search,
    step_cache,
    testbed,
    tested_on,
    virtual_gpu,
)
from .page import Page

TOPICS: dict[str, tuple[Page, ...]] = {
    "Probes": probe_accuracy.PAGES + probe_learning.PAGES,
    "Searching seeds": seed_search.PAGES + prompt_loop.PAGES + virtual_gpu.PAGES,
    "Step cache": step_cache.PAGES,
    "Exactness": exactness.PAGES,
    "Cost of capture": capture.PAGES,
    "Reward models": rewards.PAGES,
    "Testbed": testbed.PAGES,
    "Your models": tested_on.PAGES,
}
"""Pages by the heading that they have in the index."""

PAGES = tuple(page for pages in TOPICS.values() for page in pages)
