"""The demo itself, run by :mod:`dev.demo` in the Python that has ComfyUI's requirements."""

import argparse
import io
import re
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from training.client.paths import OUTPUT, PACK_ROOT
from training.client.server import ComfyClient, Event, PromptError
from training.client.workflow import Prompt, WorkflowError, load_prompt

from .contact_sheet import contact_sheet
from .run_outcome import Outcome, read_outcome
from .server import ComfyServer, ServerError
from .steps import step

WORKFLOW = PACK_ROOT / "dev" / "demo.json"
"""A seed selection on the small FLUX, in API format."""


class Progress:
    """Shows a prompt's events as one bar per node that reports progress, and counts their steps."""

    def __init__(self, prompt: Prompt):
        self.titles = {
            number: node.get("_meta", {}).get("title", node["class_type"]) for number, node in prompt.items()
        }
        self.steps: dict[str, int] = {}
        self._bar: tqdm | None = None
        self._node = ""

    def __call__(self, event: Event) -> None:
        if event["type"] == "progress" and event["data"].get("node"):
            node, value = event["data"]["node"], event["data"]["value"]
            if node != self._node:
                self.close()
                self._node = node
                self._bar = tqdm(total=event["data"]["max"], desc=self.titles.get(node, node), unit="step")
            self._bar.update(value - self._bar.n)
            self.steps[node] = max(value, self.steps.get(node, 0))
        elif event["type"] == "executing":
            self.close()

    def close(self) -> None:
        """End the bar that is being drawn."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._node = None, ""


def run_workflow(client: ComfyClient, prompt: Prompt, folder: Path) -> Outcome:
    """Run a seed-selection prompt; the survivors' images and ``contact_sheet.png`` are left in ``folder``.

    Raises:
        training.client.server.PromptError: the prompt was refused or failed.
    """
    progress = Progress(prompt)
    try:
        outputs = client.run(prompt, progress)
    finally:
        progress.close()
    outcome = read_outcome(prompt, outputs, progress.steps)
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("seed_*.png"), *folder.glob("contact_sheet.png")):
        old.unlink()
    finished = [client.view(image) for image in outcome.finished]
    survivors = [candidate for candidate in outcome.candidates if candidate.kept]
    for candidate, data in zip(survivors, finished):
        name = re.sub(r"\W+", "_", candidate.seed)
        (folder / f"seed_{name}.png").write_bytes(data)
    _sheet(client, outcome, finished).save(folder / "contact_sheet.png")
    return outcome


def _sheet(client: ComfyClient, outcome: Outcome, finished: list[bytes]) -> Image.Image:
    previews = [Image.open(io.BytesIO(client.view(image))) for image in outcome.previews]
    if len(previews) != len(outcome.candidates):
        previews = [None] * len(outcome.candidates)
    done = iter(finished)
    pictures = []
    for candidate, preview in zip(outcome.candidates, previews):
        data = next(done, None) if candidate.kept else None
        pictures.append(Image.open(io.BytesIO(data)) if data is not None else preview)
    return contact_sheet(outcome.candidates, pictures, outcome.heading, outcome.prompt)


def main() -> None:
    """Start the server, run the workflow, stop the server, say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--workflow", type=Path, default=WORKFLOW, help="a saved workflow (UI or API format)")
    parser.add_argument("--out", type=Path, default=OUTPUT / "demo", help="where the images go")
    arguments = parser.parse_args()
    server = ComfyServer()
    try:
        with step("Starting ComfyUI"):
            server.__enter__()
        prompt = load_prompt(arguments.workflow, server.client.object_info())
        print(f"Running {arguments.workflow.name}", flush=True)
        outcome = run_workflow(server.client, prompt, arguments.out)
    except (ServerError, PromptError, WorkflowError, ValueError, OSError) as error:
        if server.process is not None and not isinstance(error, (ServerError, WorkflowError)):
            error = f"{error}\nComfyUI's log ends:\n{server.log_tail(15)}"
        raise SystemExit(f"The demo stopped. {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("The demo was interrupted.") from None
    finally:
        server.stop()
    kept = [candidate for candidate in outcome.candidates if candidate.kept]
    print(f"Kept {len(kept)} of {len(outcome.candidates)}: seeds {', '.join(c.seed for c in kept) or 'none'}")
    print(f"Images and contact_sheet.png: {arguments.out}")
    print(outcome.cost_line())


if __name__ == "__main__":
    main()
