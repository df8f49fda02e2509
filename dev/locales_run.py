"""The English texts of the nodes, as ComfyUI's frontend reads them from ``nodeDefs.json``."""

import argparse
import json
from typing import Any

from training.client import loader
from training.client.paths import PACK_ROOT

FILE = PACK_ROOT / "locales" / "en" / "nodeDefs.json"


def english_texts() -> str:
    """Return the content of the English ``nodeDefs.json``. ComfyUI has to be importable."""
    from diffusion_probe.nodes import NODES

    texts = {schema.node_id: _texts(schema) for schema in (node.GET_SCHEMA() for node in NODES)}
    return json.dumps(texts, ensure_ascii=False, indent=2) + "\n"


def _texts(schema: Any) -> dict[str, Any]:
    texts = {"display_name": schema.display_name, "description": schema.description}
    if schema.inputs:
        texts["inputs"] = {socket.id: _named(socket.id, socket.tooltip) for socket in schema.inputs}
    texts["outputs"] = {
        str(number): _named(socket.display_name, socket.tooltip) for number, socket in enumerate(schema.outputs)
    }
    return texts


def _named(name: str, tooltip: str) -> dict[str, str]:
    return {"name": name.replace("_", " "), "tooltip": tooltip}


def main() -> None:
    """Write the file, or compare it with the schemas."""
    parser = argparse.ArgumentParser(prog="python -m dev.locales", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the file differs")
    check = parser.parse_args().check
    loader.use_comfy()
    written, texts = FILE.read_text(encoding="utf-8") if FILE.exists() else "", english_texts()
    name = FILE.relative_to(PACK_ROOT).as_posix()
    if written == texts:
        print(f"{name} says what the schemas say.")
    elif check:
        raise SystemExit(f"{name} differs from the schemas. Run python -m dev.locales.")
    else:
        FILE.write_text(texts, encoding="utf-8")
        print(f"{name} was written.")


if __name__ == "__main__":
    main()
