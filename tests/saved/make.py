"""How the files of this folder were made, by the code of commit b453980, before the rooms of today.

In a checkout of that commit, with a ComfyUI in ``.cache``: ``PYTHONPATH=. python …/make.py FOLDER``. The files stand
for those that users have, so they are never made again.
"""

import gzip
import json
import sys
from pathlib import Path

from runtime import loader

loader.use_comfy()

import torch  # noqa: E402
from diffusion_probe.probe_models.features import Features  # noqa: E402
from diffusion_probe.probe_models.probe_card import ProbeCard  # noqa: E402
from diffusion_probe.probe_models.probe_file import KINDS, load_probe, new_network, save_probe  # noqa: E402
from diffusion_probe.probe_models.words import Word  # noqa: E402
from diffusion_probe.training import testbed_recording  # noqa: E402
from runtime.paths import PACK_ROOT  # noqa: E402
from runtime.server import ComfyServer  # noqa: E402
from runtime.workflow import to_prompt  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

BLOCKS = ("double 1", "single 0")
SIZES = {
    "attention cnn": {"text": 7, "widths": [16, 16], "layers": 1, "width": 16, "reading": 1, "judging": 1},
    "activation ranker": {"activation": 3, "text": 7, "widths": [16, 32], "vector": 16},
    "joint": {
        "latent": 4, "activation": 3, "text": 7, "width": 16, "looking": 1, "channels": 16, "seeing": 1, "reading": 1,
        "layers": 1,
    },
}  # fmt: skip
WORDS = (Word("a", (1,)), Word("red", (2,)), Word("circle", (3, 4)))


def captured(number: int) -> Features:
    """Return a row of random features; rows differ in words and grid."""
    generator = torch.Generator().manual_seed(number)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    height, width, words = 6 + 2 * number, 4, WORDS[: 3 - number]
    return Features(
        family="FLUX", moment="20%", step=5 + number, sigma=0.8, percent=0.2, blocks=BLOCKS, words=words,
        attention=torch.rand((2, 6, height, width), generator=generator).div(6).half(),
        denoised=draw(4, 2 * height, 2 * width), latent=draw(4, 2 * height, 2 * width).half(),
        activation=draw(3, height, width).half(), text=draw(6, 7).half(),
    )  # fmt: skip


def write_features(folder: Path, rows: list[Features]) -> None:
    """Write rows as ``features.safetensors``: tensors by row and name, the rest as JSON."""
    tensors, plain = {}, []
    for number, row in enumerate(rows):
        values = {name: value for name, value in vars(row).items() if name not in ("why", "words")}
        tensors |= {f"{number} {name}": value for name, value in values.items() if isinstance(value, torch.Tensor)}
        kept = {name: value for name, value in values.items() if not isinstance(value, torch.Tensor)}
        plain.append({**kept, "words": [[word.name, word.positions] for word in row.words]})
    save_file(tensors, folder / "features.safetensors", {"rows": json.dumps(plain)})


def write_probe(path: Path, kind: str) -> None:
    """Write a probe of a kind with random weights, none of them as a new network has it."""
    card = ProbeCard(
        kind=kind, family="FLUX", blocks=BLOCKS, moments=("10%", "20%"), label="ImageReward",
        heads=("ImageReward", "Aesthetic Score"), network=SIZES[kind], calibration=(-1.5, 0.0, 0.5, 2.0),
        label_quantiles=(-2.0, 0.25, 1.75), prompts=3, images=12, command="train …", held_out={"SRCC": 0.5},
        skilled=True, search_skill={"progress": [0.1, 0.2], "correlation": [0.3, 0.5], "spread": [], "source": "made"},
    )  # fmt: skip
    torch.manual_seed(len(kind))
    network = new_network(card)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.05 * torch.randn_like(value)
    projection = torch.randn(3, 5) if "activation" in SIZES[kind] else None
    save_probe(path, card, network.half(), projection, prompts=[1, 22, 333])


def brightness(images: torch.Tensor) -> tuple[float, ...]:
    """Return the mean of each image."""
    return tuple(images.mean((1, 2, 3)).tolist())


def write_workflows(folder: Path) -> None:
    """Write every template as it was shipped, and the prompt that it became with the nodes of then."""
    paths = sorted((PACK_ROOT / "workflows").glob("*.json"))
    workflows = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    with ComfyServer() as server:
        info = server.client.object_info()
    prompts = {name: to_prompt(workflow, info) for name, workflow in workflows.items()}
    for name, values in (("workflows", workflows), ("prompts", prompts)):
        data = json.dumps(values, separators=(",", ":")).encode()
        (folder / f"{name}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))


def main(folder: Path) -> None:
    """Write all files."""
    folder.mkdir(parents=True)
    rows, scores = [captured(0), captured(1)], {}
    write_features(folder, rows)
    for kind in KINDS:
        path = folder / f"{kind.replace(' ', '-')}.safetensors"
        write_probe(path, kind)
        scores[path.name] = load_probe(path).score(rows).tolist()
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    truth = testbed_recording.ground_truth  # images of this size have few marks that differ
    testbed_recording.ground_truth = lambda images, prompt: {**truth(images, prompt), "brightness": brightness(images)}
    recorder = testbed_recording.TestbedRecorder(
        "flux", folder / "dataset", seeds=4, seed=SEED, size=(64, 48), moments=((3, 8),)
    )
    recorder.record(3)
    write_workflows(folder)


SEED = 40
"""Of the dataset's prompts: of its three, one is for validation."""

if __name__ == "__main__":
    main(Path(sys.argv[1]))
