"""What the tests against the real ComfyUI share: its modules in process, and one real server."""

import sys

from training.client import loader
from training.client.paths import PACK_ROOT

loader.use_comfy()
sys.path.insert(0, str(PACK_ROOT))
import benchmarks  # noqa: E402, F401  (found once, its modules are importable; the root leaves the path again)

sys.path.remove(str(PACK_ROOT))

import comfy.model_management  # noqa: E402
import pytest  # noqa: E402

from dev.server import ComfyServer  # noqa: E402
from training.client.server import ComfyClient  # noqa: E402


@pytest.fixture(scope="session")
def server_models(tmp_path_factory):
    """The server's models folder: empty, whatever the installation has."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def server(server_models):
    """One real ComfyUI server with the pack, for the whole session."""
    with ComfyServer(extra_arguments=("--models-directory", str(server_models))) as running:
        yield running


@pytest.fixture
def client(server):
    """A client of that server with its own event stream."""
    with ComfyClient(server.url) as connected:
        yield connected


@pytest.fixture(autouse=True)
def nothing_dead_stays_loaded():
    """ComfyUI collects garbage at each load as long as it has a model whose patchers are gone, which takes seconds in
    a process with many modules."""
    yield
    loaded = comfy.model_management.current_loaded_models
    loaded[:] = [model for model in loaded if not model.is_dead()]


class Run:
    """What one prompt did, told by its events."""

    def __init__(self, client, prompt):
        self.events = []
        self.prompt = prompt
        self.outputs = client.run(prompt, self.events.append)

    def data(self, kind: str, node: str | None = None) -> list[dict]:
        """The data of all events of one kind, of one node if it is named."""
        found = [event["data"] for event in self.events if event["type"] == kind]
        return found if node is None else [data for data in found if data.get("node") == node]

    def images(self, node: str) -> list[dict]:
        """The images that a node reported."""
        return [image for data in self.data("executed", node) for image in (data["output"] or {}).get("images", [])]

    def text(self, node: str) -> str:
        """The text that a node reported."""
        (data,) = self.data("executed", node)
        return data["output"]["text"][0]

    def cached(self) -> set[str]:
        """The nodes that were not run because nothing before them changed."""
        return {node for data in self.data("execution_cached") for node in data["nodes"]}


@pytest.fixture
def run(client):
    """Runs a prompt on the server; a :class:`Run`."""
    return lambda prompt: Run(client, prompt)


@pytest.fixture
def flux():
    """A small FLUX with random weights, whose attention is far from flat."""
    from diffusion_probe.dev.random_models import random_flux

    return random_flux(seed=0, scale=1.5)


class SmallModel:
    """A small model with random weights, of a family by name, and what a KSampler needs to run it.

    Attributes:
        model: the MODEL; its attention is far from flat.
        latent: an empty latent of one row, 8 x 12.
    """

    def __init__(self, name):
        import torch
        from diffusion_probe.dev.random_models import random_flux, random_model

        self.name = name
        self.model = random_flux(scale=1.5) if name == "FLUX" else random_model(name, scale=1.5)
        latent_format = self.model.get_model_object("latent_format")
        frames = [1] if latent_format.latent_dimensions == 3 else []
        self.latent = torch.zeros(1, latent_format.latent_channels, *frames, 8, 12)

    def prompt(self, seed, tokens=12, **changes):
        """A CONDITIONING for it."""
        import torch
        from diffusion_probe.dev.random_models import random_conditioning

        [[context, entry]] = random_conditioning(seed, tokens=tokens)
        if self.name == "HiDream":
            llama = torch.randn((1, 4, 7, 32), generator=torch.Generator().manual_seed(seed))
            entry["conditioning_llama3"] = llama
        return [[context, {**entry, **changes}]]

    def empty(self, rows=2):
        """An empty latent of so many rows."""
        return self.latent.repeat(rows, *[1] * (self.latent.ndim - 1))

    def sample(self, model=None, seed=5, rows=2, steps=3, cfg=2.0, positive=None, negative=None, **options):
        """What the stock KSampler gives: a latent of so many rows."""
        import comfy.sample
        import torch

        with torch.inference_mode():
            latent = options.pop("latent", self.empty(rows))
            noise = options.pop("noise", None)
            noise = comfy.sample.prepare_noise(latent, seed) if noise is None else noise
            positive = self.prompt(1) if positive is None else positive
            negative = self.prompt(2) if negative is None else negative
            sampler, scheduler = options.pop("sampler", "euler"), options.pop("scheduler", "simple")
            return comfy.sample.sample(
                model or self.model, noise, steps, cfg, sampler, scheduler, positive, negative, latent,
                seed=seed, disable_pbar=True, **options,
            )  # fmt: skip


@pytest.fixture(scope="session")
def small_model():
    """``small_model("Qwen-Image")``: a :class:`SmallModel`, built once for the whole session."""
    import functools

    return functools.cache(SmallModel)


@pytest.fixture
def reward_models(tmp_path, monkeypatch):
    """An empty folder for reward models, the only one that ComfyUI knows of."""
    import folder_paths
    from diffusion_probe.engine.rewards.files import FOLDER

    extensions = folder_paths.folder_names_and_paths[FOLDER][1]
    folder = tmp_path / "reward_models"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(folder)], extensions))
    return folder


@pytest.fixture
def ksampler():
    """A stock KSampler run in process, on a batch of latents of 8 x 12 (4 x 6 image tokens)."""
    import comfy.sample
    import torch
    from diffusion_probe.dev.random_models import random_conditioning

    @torch.inference_mode()
    def run(model, positive=None, negative=None, rows=2, seed=5, steps=12, cfg=2.0, latent=None, noise=None, **options):
        latent = torch.zeros(rows, 16, 8, 12) if latent is None else latent
        noise = comfy.sample.prepare_noise(latent, seed) if noise is None else noise
        positive = random_conditioning(1) if positive is None else positive
        negative = random_conditioning(2) if negative is None else negative
        sampler, scheduler = options.pop("sampler", "euler"), options.pop("scheduler", "simple")
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler, scheduler, positive, negative, latent,
            seed=seed, disable_pbar=True, **options,
        )  # fmt: skip

    return run


@pytest.fixture
def row_counts(monkeypatch):
    """The rows of every model call, counted from outside: a wrapper on the MODEL would be one of another pack."""
    import comfy.model_base

    counts, original = [], comfy.model_base.BaseModel._apply_model

    def apply_model(self, x, *args, **kwargs):
        counts.append(len(x))
        return original(self, x, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "_apply_model", apply_model)
    return counts


@pytest.fixture
def probe():
    """A probe that needs everything and scores by the mean of x0."""
    import torch
    from diffusion_probe.engine.core.probe import Probe

    class MeanOfX0(Probe):
        name, label, needs, skilled = "mean of x0", "mean", frozenset({"attention", "denoised"}), True
        calibration = ()

        def score(self, rows):
            return torch.stack([row.denoised.mean() for row in rows])

    return MeanOfX0()
