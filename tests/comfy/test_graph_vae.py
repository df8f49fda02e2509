"""VAE that Preview Reward takes from the queued graph."""

import pytest
from diffusion_probe.engine.capture.graph_vae import find_vae
from diffusion_probe.nodes import NODES, probes

import nodes as comfy_nodes
from support.graphs import held_search, node


@pytest.fixture(autouse=True)
def known_nodes(monkeypatch):
    for each in NODES:
        monkeypatch.setitem(comfy_nodes.NODE_CLASS_MAPPINGS, each.GET_SCHEMA().node_id, each)


def graph(**changed):
    return {**held_search(), "probe": node("DiffusionProbePreviewReward", reward=["judge", 0], prompt=""), **changed}


def test_the_vae_that_decodes_what_is_sampled_comes_before_the_loaded_one():
    other = {
        "own": node("VAELoader", vae_name="own"),
        "decode": node("VAEDecode", samples=["search", 0], vae=["own", 0]),
    }
    assert find_vae(graph(**other), "probe") == ("own", 0)


def test_a_graph_that_keeps_latents_has_the_vae_of_the_models_loader():
    nodes = graph(
        save=node("SaveLatent", samples=["search", 0]),
        lora=node("LoraLoaderModelOnly", model=["model", 0], lora_name="x"),
        other=node("VAELoader", vae_name="other"),
        looked=node("VAEDecode", samples=["latent", 0], vae=["other", 0]),
    )
    del nodes["decode"]
    nodes["search"]["inputs"]["model"] = ["lora", 0]
    nodes["model"] = node("CheckpointLoaderSimple", ckpt_name="x")
    assert find_vae(nodes, "probe") == ("model", 2)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_a_decoder_or_loader_the_only_vae_of_the_graph_is_taken(count):
    nodes = graph(model=node("UNETLoader", unet_name="x", weight_dtype="default"))
    del nodes["decode"], nodes["save"]
    for number in range(count):
        nodes[f"vae {number}"] = node("VAELoader", vae_name=f"{number}")
        nodes[f"elsewhere {number}"] = node("VAEEncode", pixels=["image", 0], vae=[f"vae {number}", 0])
    assert find_vae(nodes, "probe") == (("vae 0", 0) if count == 1 else None)


def test_a_vae_that_depends_on_the_probe_is_not_taken():
    nodes = graph(gate=node("DiffusionProbePromptGate", scores=["search", 2], passing=["model", 2]))
    nodes["decode"]["inputs"]["vae"] = ["gate", 0]
    assert find_vae(nodes, "probe") != ("gate", 0)


def test_circles_and_links_to_nothing_end_the_search():
    nodes = {"probe": node("DiffusionProbePreviewReward", reward=["gone", 0]), "a": node("Any", x=["b", 0]),
             "b": node("Any", x=["a", 0], y=["probe", 0])}  # fmt: skip
    assert find_vae(nodes, "probe") is None


def test_a_connected_loader_without_a_vae_is_named_and_not_replaced(monkeypatch, reward_of):
    monkeypatch.setattr(probes, "running_graph", lambda: ("probe", held_search()))
    with pytest.raises(ValueError, match="The vae is missing: this checkpoint holds no VAE. Load one with Load VAE"):
        probes.PreviewRewardProbe.execute(None, reward_of(lambda images, prompts: images.mean((1, 2, 3))), "")
