"""What needs the x0 prediction alone works on every model that makes images, whatever its attention is.

Each on a small model of ComfyUI's own class with random weights.
"""

import functools

import comfy.model_base
import comfy.sample
import comfy.supported_models as families
import pytest
import torch
from diffusion_probe.dev.random_models import SDXL_FIXED, SMALL_MODELS, SMALL_SDXL, random_conditioning, random_of
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.engine.runs.keys import RECORDING
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.search import seed_search
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.nodes.prune import PruneInFlight
from diffusion_probe.nodes.record import AttachRecorder
from diffusion_probe.nodes.seeds import EarlySeedFilter
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward

SD2 = {**SMALL_MODELS["SD1.5"][1], "use_linear_in_transformer": True, "num_heads": -1, "num_head_channels": 16}
SDXL = {**SDXL_FIXED, **SMALL_SDXL}
OF_16 = {"hidden_size": 32, "num_heads": 2, "mlp_ratio": 2.0, "theta": 10000, "qkv_bias": True, "guidance_embed": False}

MODELS = {
    "SD2.1": (families.SD20, SD2),
    "SD2.1 unCLIP": (families.SD21UnclipL, {**SD2, "adm_in_channels": 1536, "num_classes": "sequential"}),
    "SDXL refiner": (families.SDXLRefiner, {**SDXL, "adm_in_channels": 32 + 5 * 256}),
    "Stable Cascade": (
        families.Stable_Cascade_C,
        {
            "stable_cascade_stage": "c", "c_hidden": [32, 32], "nhead": [2, 2], "blocks": [[1, 1], [1, 1]],
            "c_cond": 32, "c_clip_text": 32, "c_clip_text_pooled": 32,
        },
    ),
    "AuraFlow": (
        families.AuraFlow,
        {
            "dim": 32, "n_layers": 2, "n_double_layers": 1, "n_heads": 2, "global_conddim": 32, "cond_seq_dim": 32,
            "max_seq": 64,
        },
    ),
    "PixArt Sigma": (
        families.PixArtSigma,
        {
            "image_model": "pixart_sigma", "hidden_size": 32, "depth": 2, "num_heads": 2, "caption_channels": 32,
            "micro_condition": False, "model_max_length": 12,
        },
    ),
    "Hunyuan-DiT": (
        families.HunyuanDiT,
        {
            "image_model": "hydit", "hidden_size": 32, "depth": 4, "num_heads": 2, "text_states_dim": 32,
            "text_states_dim_t5": 32,
        },
    ),
    "OmniGen2": (
        families.Omnigen2,
        {
            "image_model": "omnigen2", "hidden_size": 96, "num_layers": 2, "num_refiner_layers": 1,
            "num_attention_heads": 2, "num_kv_heads": 1, "axes_dim_rope": (16, 16, 16), "text_feat_dim": 32,
            "multiple_of": 16,
        },
    ),
    "Kandinsky 5": (
        families.Kandinsky5Image,
        {
            "image_model": "kandinsky5", "model_dim": 64, "visual_embed_dim": 64, "in_text_dim": 32,
            "in_text_dim2": 32, "time_dim": 32, "ff_dim": 64, "num_text_blocks": 1, "num_visual_blocks": 2,
            "axes_dims": (4, 6, 6),
        },
    ),
    "HunyuanImage 2.1": (
        families.HunyuanImage21,
        {
            **OF_16, "image_model": "hunyuan_video", "in_channels": 64, "out_channels": 64, "vec_in_dim": None,
            "context_in_dim": 32, "depth": 1, "depth_single_blocks": 1, "patch_size": [1, 1], "axes_dim": [8, 8],
            "byt5": False, "meanflow": False, "use_cond_type_embedding": False, "vision_in_dim": None,
            "meanflow_sum": False,
        },
    ),
    "Cosmos Predict2": (
        families.CosmosT2IPredict2,
        {
            "image_model": "cosmos_predict2", "max_img_h": 16, "max_img_w": 16, "max_frames": 8, "in_channels": 16,
            "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 64, "num_blocks": 2,
            "num_heads": 2, "crossattn_emb_channels": 32, "pos_emb_cls": "rope3d", "concat_padding_mask": True,
        },
    ),
    "LongCat-Image": (
        families.LongCatImage,
        {
            **OF_16, "image_model": "flux", "in_channels": 16, "out_channels": 16, "context_in_dim": 32,
            "vec_in_dim": None, "depth": 1, "depth_single_blocks": 1, "patch_size": 2, "axes_dim": [4, 6, 6],
            "txt_ids_dims": [1, 2],
        },
    ),
}  # fmt: skip
"""Families that are not in the pack's table: ComfyUI's configuration class, and what the model is built from."""

ROWS, STEPS = 3, 4


@functools.cache
def built(name):
    kind, config = MODELS[name]
    return random_of(kind, config, scale=1.5)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module", autouse=True)
def no_model_is_left():
    yield
    built.cache_clear()


def prompt(name, seed):
    [[context, entry]] = random_conditioning(seed, tokens=77 if name == "Hunyuan-DiT" else 12)
    if name == "Hunyuan-DiT":
        second = torch.randn((1, 256, 32), generator=torch.Generator().manual_seed(seed))
        masks = {"attention_mask": torch.ones(1, 77), "attention_mask_mt5xl": torch.ones(1, 256)}
        entry = {**entry, "conditioning_mt5xl": second, **masks}
    if name == "OmniGen2":
        entry = {**entry, "attention_mask": torch.ones(1, 12, dtype=torch.long)}
    return [[context, entry]]


def empty(name, rows=ROWS):
    latent_format = built(name).get_model_object("latent_format")
    frames = [1] if latent_format.latent_dimensions == 3 else []
    size = (32, 36) if name == "PixArt Sigma" else (8, 12)
    return torch.zeros(rows, latent_format.latent_channels, *frames, *size)


@torch.inference_mode()
def sample(name, model, seed=5, rows=ROWS, callback=None):
    latent = empty(name, rows)
    noise = comfy.sample.prepare_noise(latent, seed)
    return comfy.sample.sample(
        model, noise, STEPS, 2.0, "euler", "simple", prompt(name, 1), prompt(name, 2), latent, seed=seed,
        callback=callback, disable_pbar=True,
    )  # fmt: skip


class Brightness(Reward):
    label = "brightness"

    def score(self, images, prompts):
        return images.mean((1, 2, 3))


def probe():
    """Preview Reward with a quick VAE and reward: the row of the largest latents is the best."""

    def decode(latents):
        return latents.flatten(1, -3)[:, :3].movedim(1, -1).div(10).sigmoid()

    return PreviewReward(decode, Brightness(), "a prompt")


def test_a_probe_of_x0_scores_a_run_and_changes_nothing_of_it(name):
    seen = []
    model = AttachProbe.execute(built(name), probe(), "step 2")[0]
    latent = sample(name, model, callback=lambda step, x0, x, total: seen.append(x0.clone()))
    assert torch.equal(latent, sample(name, built(name)))
    rows = captured(model, {"samples": latent})
    expected = model.model.process_latent_out(seen[1])
    assert torch.equal(torch.stack([row.denoised for row in rows]), expected)
    scores = ProbeScore.execute({"samples": latent}, model)[0]
    assert scores.values == tuple(probe().score(rows).tolist()) and len(set(scores.values)) == ROWS
    kept = EarlySeedFilter.execute({"samples": latent}, scores, 1, "off", 0.0, "keep all")[0]
    assert torch.equal(kept["samples"][0], latent[scores.values.index(max(scores.values))])


def test_rows_of_any_model_are_pruned_in_flight(name):
    rows = []
    model = PruneInFlight.execute(built(name), probe(), "step 2", 1, "off", 0.0, "keep all")[0]
    hook = built(name).model.diffusion_model.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    try:
        pruned = sample(name, model)
    finally:
        hook.remove()
    whole = sample(name, built(name))
    scores = ProbeScore.execute({"samples": pruned}, model)[0]
    (kept,) = [row for row in range(ROWS) if scores.dropped_at[row] is None]
    assert (pruned[kept] - whole[kept]).norm() / whole[kept].norm() < 1e-5
    assert sum(rows) == 2 * (ROWS * 2 + 1 * 2) and model.get_attachment(RECORDING).store.size() > 0


def test_seeds_of_any_model_are_searched_by_x0(name):
    prompts, latent = (prompt(name, 1), prompt(name, 2)), {"samples": empty(name, 1)}
    found = [ksampler_candidate(seed, STEPS, 2.0, "euler", "simple", *prompts, latent) for seed in range(2)]
    with torch.inference_mode():
        result = seed_search(
            built(name), found, probe(), lambda steps: policy_named(ONE_CUT, steps, 2, 1, share=0.5), 1
        )
    expected = sample(name, built(name), seed=result.survivors[0], rows=1)
    assert (result.latents - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("node", ["Attach Probe", "Prune in Flight", "Attach Recorder"])
def test_a_probe_of_attention_is_refused_with_what_works_instead(name, node):
    execute = {
        "Attach Probe": lambda model: AttachProbe.execute(model, AttentionFocus(), "20%"),
        "Prune in Flight": lambda model: PruneInFlight.execute(
            model, AttentionFocus(), "20%", 4, "off", 0.0, "keep all"
        ),
        "Attach Recorder": lambda model: AttachRecorder.execute(model, "20%"),
    }[node]
    kind = type(built(name).model).__name__
    with pytest.raises(ValueError, match=f"{node}: This MODEL is a {kind}, whose attention layout.* preview reward"):
        execute(built(name))


@pytest.mark.parametrize(
    ("kinds", "makes"),
    [
        (["WAN21", "WAN22_S2V", "HunyuanVideo15", "LTXAV", "Kandinsky5", "SV3D_u", "CogVideoX"], "videos"),
        (["StableAudio1", "ACEStep15", "Hunyuan3Dv2"], "sound or shapes"),
    ],
)
def test_models_that_make_no_images_are_refused_whatever_a_probe_reads(kinds, makes):
    for kind in kinds:
        model = built("AuraFlow").clone()
        model.model = object.__new__(getattr(comfy.model_base, kind))
        with pytest.raises(ValueError, match=f"is a {kind}, which makes {makes}, and probes read images"):
            AttachProbe.execute(model, probe(), "20%")
        model.model = built("AuraFlow").model
