"""Random hostile inputs for every node, called as ComfyUI calls it: each ends in one sentence, and nothing is lost.

What comes over the server's API is in ``test_hostile_prompts.py``, files are in ``test_hostile_files.py``.
"""

import inspect
import json
from types import SimpleNamespace

import folder_paths
import pytest
import torch
from comfy_api.latest import io
from comfy_execution.graph import DynamicPrompt
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.engine.core.texts import can_be_logged
from diffusion_probe.nodes import NODES, train
from diffusion_probe.nodes.inputs import KINDS
from diffusion_probe.nodes.probe_folder import FOLDER
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.probe_models.probe_file import load_probe
from diffusion_probe.training.fitting.recipe import recipe_for

from support import hostile
from support.networks import SMALL
from training.client.paths import PACK_ROOT

BY_NAME = {node.GET_SCHEMA().display_name: node for node in NODES}
JOINT = SMALL["joint"]


class Bright(Reward):
    """A reward that reads any prompt, or returns what ``values`` makes of the images."""

    label = "brightness"

    def __init__(self, values=lambda images: images.mean((1, 2, 3))):
        self.values = values

    def score(self, images, prompts):
        return self.values(images)


class Vae:
    """Decodes in no time."""

    @staticmethod
    def decode(latents):
        return latents[:, :3].movedim(1, -1).sigmoid()


@pytest.fixture(scope="module")
def clip():
    from diffusion_probe.testbed.load import MODELS, load_clip

    return load_clip(MODELS / "flux" / "text_encoder.safetensors")


@pytest.fixture
def folders(tmp_path, monkeypatch, record, write_probe):
    """Folders of ComfyUI's with a probe and a dataset that nobody may harm."""
    probes = tmp_path / "models" / FOLDER
    probes.mkdir(parents=True)
    extensions = folder_paths.folder_names_and_paths[FOLDER][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(probes)], extensions))
    for name in ("output", "temp", "input"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"get_{name}_directory", lambda name=name: str(tmp_path / name))
    monkeypatch.setattr(train, "recipe_for", lambda *given, **more: recipe_for(*given, network=JOINT, **more))
    write_probe(probes / "kept.safetensors", blocks=("double 0",))
    record(tmp_path / "output" / "probe_data" / "kept", prompts=20, rows=2)
    return tmp_path


@pytest.fixture
def right(flux, ksampler, clip, folders):
    """By the type of a socket what rightly comes in there."""
    model = attach_probe(flux, AttentionFocus(), "step 1")
    latent = {"samples": ksampler(model, steps=2, cfg=1.0)}
    scores = Scores((0.25, 0.75), (SeedName(7), SeedName(8)), "a probe", "quality", "20%", 5, True)
    return {
        "MODEL": [flux, model],
        "CLIP": [clip],
        "VAE": [Vae()],
        "LATENT": [latent, {"samples": torch.zeros(1, 16, 8, 12)}],
        "IMAGE": [torch.rand(2, 16, 16, 3)],
        "CONDITIONING": [random_conditioning(1), random_conditioning(2)],
        "DIFFUSION_PROBE": [
            AttentionFocus(),
            PreviewReward(Vae.decode, Bright(), "a fox"),
            load_probe(PACK_ROOT / "testbed" / "probes" / "flux" / "joint.safetensors"),
        ],
        "DIFFUSION_PROBE_SCORES": [scores],
        "DIFFUSION_PROBE_REWARD": [Bright()],
        "COMFY_MATCHTYPE_V3": ["anything"],
    }


NAMED = {
    "dataset": "kept", "output_name": "new", "labels": "", "moments": "step 1", "moment": "step 1", "words": "",
    "text": "a red fox", "prompt": "a red fox", "filename_prefix": "kept", "seeds": "", "steps": 2, "candidates": 2,
    "count": 2, "survivors": 1, "budget": 0.0, "hold_for_me": False, "size": 64, "row": -1, "captions": True,
    "cfg": 1.0, "start": 0.15, "end": 1.0, "device": "cpu", "name": "kept.safetensors", "policy": "one cut",
    "denoise": 1.0, "sampler_name": "euler", "scheduler": "simple", "max_rows": 0, "trust": 1.0, "opacity": 0.5,
}  # fmt: skip


def rightly(rng, each, right):
    """A right value of an input."""
    kind = each.get_io_type()
    if kind in right:
        return rng.choice(right[kind])
    if kind == "COMBO" and each.id in NAMED and NAMED[each.id] in each.options:
        return NAMED[each.id]
    if kind == "COMBO":
        return rng.choice(each.options)
    default = NAMED.get(each.id, getattr(each, "default", None))
    return default if default is not None else max(getattr(each, "min", 0) or 0, 0)


def wrongly(rng, each, right):
    """What may come in there instead: of another socket, a thing that is broken, or anything that JSON holds."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(right[rng.choice(sorted(right))])
    if kind == 1 and each.get_io_type() in BROKEN:
        return rng.choice(BROKEN[each.get_io_type()])(rng.choice(right[each.get_io_type()]), rng)
    if each.get_io_type() == "STRING" and kind < 3:
        return hostile.text(rng)
    if each.get_io_type() in ("INT", "FLOAT") and kind < 3:
        return rng.choice(hostile.NUMBERS)
    return hostile.value(rng)


BROKEN = {
    "LATENT": [
        lambda latent, rng: {},
        lambda latent, rng: {"samples": None},
        lambda latent, rng: {"samples": latent["samples"][:0]},
        lambda latent, rng: {"samples": latent["samples"][:, :1]},
        lambda latent, rng: {"samples": latent["samples"] * float("nan")},
        lambda latent, rng: {"samples": latent["samples"][..., :1, :1]},
        lambda latent, rng: {"samples": latent["samples"][:, :, None]},
        lambda latent, rng: {**latent, "noise_mask": "mask", "batch_index": "0"},
    ],
    "IMAGE": [
        lambda image, rng: image[:0],
        lambda image, rng: image[..., :1],
        lambda image, rng: image * float("nan"),
        lambda image, rng: image[0],
        lambda image, rng: image.repeat(1, 1, 1, 2)[..., :4],
    ],
    "CONDITIONING": [
        lambda cond, rng: [],
        lambda cond, rng: [[None, {}]],
        lambda cond, rng: [[cond[0][0], "entry"]],
        lambda cond, rng: [[cond[0][0][:, :0], cond[0][1]]],
        lambda cond, rng: [[cond[0][0][..., :3], cond[0][1]]],
        lambda cond, rng: [[cond[0][0] * float("nan"), cond[0][1]]],
        lambda cond, rng: [[cond[0][0], {**cond[0][1], "diffusion_probe_words": "words"}]],
    ],
    "DIFFUSION_PROBE": [
        lambda probe, rng: Gives(None),
        lambda probe, rng: Gives([1.0] * 99),
        lambda probe, rng: Gives("high"),
        lambda probe, rng: Gives([float("nan")] * 2),
        lambda probe, rng: Gives(RuntimeError("\ud800")),
        lambda probe, rng: Gives([1.0, 2.0], name="\ud800" * 3, label="$\n"),
    ],
    "DIFFUSION_PROBE_REWARD": [
        lambda reward, rng: Bright(lambda images: None),
        lambda reward, rng: Bright(lambda images: torch.zeros(99)),
        lambda reward, rng: Bright(lambda images: "good"),
        lambda reward, rng: Bright(lambda images: torch.full((len(images),), float("nan"))),
    ],
    "DIFFUSION_PROBE_SCORES": [
        lambda scores, rng: Scores((), (), "p", "l", "20%", 1, True),
        lambda scores, rng: Scores((float("nan"), 1.0), scores.seeds, "p", "l", "20%", 1, True),
        lambda scores, rng: Scores((0.5, 1.0), scores.seeds, "\ud800", "\ud800", "\ud800", 1, True, note="\ud800"),
        lambda scores, rng: scores.subset([0]),
    ],
    "VAE": [
        lambda vae, rng: SimpleNamespace(decode=lambda latents: None),
        lambda vae, rng: SimpleNamespace(decode=lambda latents: latents),
        lambda vae, rng: SimpleNamespace(decode=lambda latents: torch.zeros(len(latents), 4, 4, 3) * float("nan")),
    ],
}


class Gives(Probe):
    """A probe that gives something."""

    needs, skilled, calibration = frozenset({"denoised"}), True, ()

    def __init__(self, given, name="odd", label="odd"):
        self.given, self.name, self.label = given, name, label

    def score(self, rows):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def called(node, given):
    """What ComfyUI calls of a node, in its order, in inference mode as there."""
    prompt = {"1": {"class_type": node.GET_SCHEMA().node_id, "inputs": {}}}
    hidden = {
        io.Hidden.prompt: prompt, io.Hidden.extra_pnginfo: given.pop("extra_pnginfo", None), io.Hidden.unique_id: "1",
        io.Hidden.dynprompt: DynamicPrompt(prompt),
    }  # fmt: skip
    clone = node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden})
    with torch.inference_mode():
        if "fingerprint_inputs" in vars(node):
            clone.fingerprint_inputs(**{name: value for name, value in given.items() if name != "hidden"})
        if "validate_inputs" in vars(node):
            taken = inspect.signature(node.validate_inputs).parameters
            said = clone.validate_inputs(**{name: given[name] for name in taken if name in given})
            if said is not True:
                raise ValueError(f"{node.GET_SCHEMA().display_name}: {said}")
        if "check_lazy_status" in vars(node):
            clone.check_lazy_status(**given)
        return clone.execute(**given)


def state_of(folder):
    """The files that were there before, with their content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and "kept" in str(path)}


@pytest.mark.parametrize("name", BY_NAME)
def test_hostile_inputs_of_a_node_end_in_one_sentence_and_harm_no_file(
    name, right, folders, draws, monkeypatch, caplog
):
    node, before = BY_NAME[name], state_of(folders)
    for rng in draws:
        inputs = node.define_schema().inputs
        given = {each.id: rightly(rng, each, right) for each in inputs if not each.optional or rng.random() < 0.5}
        for each in rng.sample(inputs, min(len(inputs), rng.choice((1, 1, 2)))):
            given[each.id] = wrongly(rng, each, right)
        given["extra_pnginfo"] = hostile.value(rng)
        note = {key: str(value)[:60].encode("unicode_escape") for key, value in given.items()}
        try:
            output = called(node, given)
        except ValueError as error:
            assert str(error).startswith(f"{name}: "), (note, error)
            assert hostile.is_sentence(str(error)), (note, error)
            assert can_be_logged(error), note
        else:
            json.dumps(output.ui if isinstance(output.ui, dict) else None, allow_nan=False).encode()
            assert all(each.encode() is not None for each in output.args if isinstance(each, str)), note
    assert {path: content for path, content in state_of(folders).items() if path in before} == before
    for logged in caplog.records:
        assert logged.getMessage().encode()


def test_every_type_of_the_packs_sockets_is_checked():
    types = {each.get_io_type() for node in NODES for each in node.define_schema().inputs}
    single = {kind for each in types for kind in each.split(",")}
    assert single - set(KINDS) == {"COMFY_MATCHTYPE_V3"}, "what is chosen between may be anything"
