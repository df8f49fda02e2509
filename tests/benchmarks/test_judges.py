"""The benchmark of choosing by several rewards, on trajectories made up here."""

import itertools
import json

import numpy as np
import pytest

PROMPTS, IMAGES, STEPS = 8, 9, 10
REWARDS = {"imr": "ImageReward", "hps": "HPSv2.1", "pic": "PickScore"}


@pytest.fixture
def judges():
    from benchmarks import judges

    return judges


@pytest.fixture
def made_up():
    """Scores that become the finished ones step by step; the rewards share half of their variance."""
    rng = np.random.default_rng(3)
    data = {}
    for model in ("flux", "sdxl"):
        shared = rng.standard_normal((PROMPTS, IMAGES))
        for size, reward in zip((1.0, 0.01, 3.0), REWARDS):
            end = size * (shared + rng.standard_normal((PROMPTS, IMAGES)))
            noise = size * rng.standard_normal((STEPS, PROMPTS, IMAGES))
            certain = np.linspace(0.1, 1, STEPS)[:, None, None]
            data[f"{model}_{reward}_preview"] = certain * end + (1 - certain) * noise
            data[f"{model}_{reward}_preview_steps"] = np.arange(STEPS)
            data[f"{model}_{reward}_noise_aware"] = data[f"{model}_{reward}_preview"][1:6]
            data[f"{model}_{reward}_noise_aware_steps"] = np.arange(1, 6)
    return data


def run(judges, data, folder):
    np.savez(folder / "data.npz", **data)
    assert judges.main(["--data", str(folder / "data.npz"), "--out", str(folder / "out.json")]) == 0
    return json.loads((folder / "out.json").read_text())


def gain_by_every_subset(scores, truth, unit):
    """What the top of a subset of 8 has more than the mean, by trying all subsets."""
    gains = []
    for own, true in zip(scores, truth):
        subsets = [list(each) for each in itertools.combinations(range(IMAGES), 8)]
        gains.append(np.mean([true[each][np.argmax(own[each])] for each in subsets]) - true.mean())
    return np.mean(gains) / unit


def test_gains_are_those_of_every_subset_of_the_reported_prompts(judges, made_up, tmp_path, capsys):
    record = run(judges, made_up, tmp_path)
    assert record["design_prompts"] == [0, 3] and record["reported_prompts"] == [4, 7]
    ends = {reward: made_up[f"sdxl_{reward}_preview"][-1] for reward in REWARDS}
    units = {reward: end[:4].std(-1).mean() for reward, end in ends.items()}
    choices = {REWARDS[reward]: end for reward, end in ends.items()}
    choices["mean"] = sum(end / units[reward] for reward, end in ends.items())
    rows = {
        (row["by"], row["under"]): row["gain"]
        for row in record["gains"]
        if row["model"] == "sdxl" and row["scores"] == "finished"
    }
    assert len(rows) == 12
    for by, scores in choices.items():
        for reward, name in REWARDS.items():
            expected = gain_by_every_subset(scores[4:], ends[reward][4:], units[reward])
            assert rows[by, name] == pytest.approx(expected, rel=1e-4)
    printed = capsys.readouterr().out
    assert "under PickScore" in printed and "**mean of all**" in printed and "Agreement" in printed


def test_the_constants_come_from_the_prompts_for_designing_alone(judges, made_up, tmp_path):
    first = run(judges, made_up, tmp_path)["spreads"]
    levels = first["HPSv2.1"]["flux"]
    assert [level["percent"] for level in levels] == [*np.arange(STEPS - 1) / STEPS, 1.0]
    end = made_up["flux_hps_preview"][-1]
    assert levels[-1]["spread"] == pytest.approx(end[:4].std(-1).mean(), rel=1e-4)
    assert levels[-1]["mean"] == pytest.approx(end[:4].mean(), rel=1e-4)
    made_up["flux_hps_preview"][:, 4:] += 5 * np.arange(IMAGES)
    assert run(judges, made_up, tmp_path)["spreads"] == first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.pop("sdxl_pic_preview"), "no array sdxl_pic_preview"),
        (lambda data: data.update(flux_hps_preview=np.zeros((3, 2))), "flux_hps_preview has to be finite numbers"),
        (lambda data: data["flux_imr_preview"].fill(np.nan), "flux_imr_preview has to be finite numbers"),
    ],
)
def test_data_of_another_form_is_refused_by_name(judges, made_up, tmp_path, change, says):
    change(made_up)
    np.savez(tmp_path / "data.npz", **made_up)
    with pytest.raises(SystemExit, match=says):
        judges.main(["--data", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out.json")])
    assert not (tmp_path / "out.json").exists()
