"""Workflows that users have: the templates of earlier versions, in ``tests/saved``.

They are the graphs on the testbed that other tests run, too; each test gets its own copy.
"""

import copy
import gzip
import json
from typing import Any

from training.client.paths import PACK_ROOT
from training.client.workflow import to_prompt


def saved(name: str) -> Any:
    """Return the content of a compressed JSON file in ``tests/saved``."""
    return json.loads(gzip.decompress((PACK_ROOT / "tests" / "saved" / f"{name}.json.gz").read_bytes()))


TEMPLATES = saved("templates")
"""Each template of version 0.2 as ``workflow``, and the ``prompt`` that it was with the nodes of then, by its name."""


def template(name: str) -> dict[str, Any]:
    """Return a template of version 0.2, as it was saved."""
    return copy.deepcopy(TEMPLATES[name]["workflow"])


def template_prompt(name: str, info: dict[str, Any]) -> dict[str, Any]:
    """Return what a template of version 0.2 is for a server that has the nodes of ``info``."""
    return to_prompt(template(name), info)
