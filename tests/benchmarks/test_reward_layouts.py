"""Full-size layouts of the published reward files, from the original classes, fit the reward models of this pack."""

from contextlib import nullcontext

import pytest
from diffusion_probe.dev.steps import SetupError
from diffusion_probe.engine.rewards.catalog import REWARDS
from diffusion_probe.engine.rewards.image_reward import ScoreHead

from benchmarks import reward_layouts
from support.small_clip import clip_model

PARAMETERS = {"ImageReward": 447, "PickScore": 986, "HPSv2.1": 986, "CLIPScore": 428, "SPM (SDXL)": 1306}
"""Millions of parameters of the published models."""


@pytest.mark.long
@pytest.mark.parametrize("name", REWARDS)
def test_every_tensor_of_a_published_file_has_its_place(name):
    try:
        rows = reward_layouts.layout_rows(name)
    except SetupError as error:
        if "Check the connection" in str(error):
            pytest.skip(str(error))
        raise
    assert {row["file"] for row in rows} == {file.names[0] for file in REWARDS[name].files} - {"vocab.txt"}
    if name in PARAMETERS:
        assert round(rows[0]["parameters"] / 1e6) == PARAMETERS[name]


def layout_of(module):
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("change", ["none", "is missing", "is left over", "has another shape"])
def test_a_layout_fits_unless_one_tensor_differs(change):
    head = layout_of(ScoreHead(64))
    if change == "is missing":
        del head["layers.6.bias"]
    elif change == "is left over":
        head["layers.9.bias"] = [1]
    elif change == "has another shape":
        head["layers.6.weight"] = [16, 65]
    clip = layout_of(clip_model(0, hidden_act="quick_gelu"))
    files = {"sac+logos+ava1-l14-linearMSE.pth": head, "model.safetensors": clip}
    refused = pytest.raises(ValueError, match="tensors are missing|tensors are unknown|tensors of another shape")
    with refused if change != "none" else nullcontext():
        reward_layouts.build("LAION aesthetic", files)
