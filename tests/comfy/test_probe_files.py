"""Load Probe: a file in models/diffusion_probes scores the runs of the model it was trained for, and of no other."""

import folder_paths
import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning, random_sdxl
from diffusion_probe.engine.core.skill import PREVIEW, Skill
from diffusion_probe.nodes import probe_folder
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.nodes.gate import PromptGate
from diffusion_probe.nodes.probe_folder import FOLDER
from diffusion_probe.nodes.probes import LoadProbe
from diffusion_probe.nodes.prune import PruneInFlight
from diffusion_probe.nodes.search import SeedSearch
from diffusion_probe.nodes.search_run import skill_of

BLOCKS = ("double 1", "single 0", "single 3")
NAME = "faces.safetensors"
OUTSIDE = [
    "../faces.safetensors",
    "people/../../faces.safetensors",
    "..\\faces.safetensors",
    "/faces.safetensors",
    "C:\\faces.safetensors",
    "C:faces.safetensors",
    "\\\\server\\share\\faces.safetensors",
]


@pytest.fixture(autouse=True)
def probes(tmp_path, monkeypatch):
    """An empty folder for probes, the only one that ComfyUI knows of; previews go beside it."""
    extensions = folder_paths.folder_names_and_paths[FOLDER][1]
    folder = tmp_path / "models" / FOLDER
    folder.mkdir(parents=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(folder)], extensions))
    monkeypatch.setattr(probe_folder, "PROBES", tmp_path / "none that ship")
    return folder


@pytest.fixture
def load(probes, write_probe):
    """Writes a random probe and loads it with the node."""

    def written(**changes):
        write_probe(probes / NAME, **{"blocks": BLOCKS, **changes})
        return LoadProbe.execute(NAME)[0]

    return written


@pytest.fixture
def scored(flux, ksampler):
    def run(probe, rows=3):
        model = AttachProbe.execute(flux, probe, "step 2")[0]
        return ProbeScore.execute({"samples": ksampler(model, steps=4, rows=rows)}, model)

    return run


def gate(scores, threshold):
    settings = ("best row", "percentile of calibration", threshold, "pass")
    names = ("rows", "threshold_on", "threshold", "unskilled_scores")
    return PromptGate.execute("on", "other", scores=scores, **dict(zip(names, settings)))


def test_a_probe_from_a_file_scores_each_row_and_shows_its_label(load, scored):
    probe = load(label="beauty")
    output = scored(probe)
    assert len(set(output[0].values)) == 3 and all(abs(value) < 10 for value in output[0].values)
    assert (output[0].probe, output[0].label, output[0].skilled) == ("faces", "beauty", False)
    assert scored(LoadProbe.execute(NAME)[0])[0].values == output[0].values


def test_its_calibration_reaches_the_gate(load, scored):
    best = max(scored(load())[0].values)
    quantiles = (best - 2, best - 1, best + 1, best + 2)  # the best row lies in the middle, at 50 %
    scores = scored(load(calibration=quantiles, skilled=True))[0]
    assert scores.calibration == quantiles
    assert gate(scores, 49.9)[:2] == ("on", True)
    assert gate(scores, 50.1)[:2] == ("other", False)


def test_without_calibration_the_gate_says_what_to_do(load, scored):
    with pytest.raises(ValueError, match='Prompt Gate: Faces has no calibration.*Set threshold on to "raw score"'):
        gate(scored(load())[0], 50)


def search(model, probe):
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    conds = random_conditioning(1), random_conditioning(2)
    settings = (1, 3, 1, 2.0, "one cut", 4, 2.0, "euler", "simple", 1.0)
    return SeedSearch.execute(model, *conds, latent, *settings, probe, unskilled_scores="use anyway")


TRIES = {
    "Attach Probe": lambda model, probe: AttachProbe.execute(model, probe, "20%"),
    "Prune in Flight": lambda model, probe: PruneInFlight.execute(model, probe, "20%", 4, "off", 0.0, "keep all"),
    "Seed Search": search,
}


@pytest.mark.parametrize("node", TRIES)
def test_a_probe_for_another_family_is_refused_and_the_right_one_runs_afterwards(flux, load, node):
    says = f'{node}: The probe "faces" was trained for SDXL, and this MODEL is FLUX. Connect a SDXL model, a probe'
    with pytest.raises(ValueError, match=says):
        TRIES[node](flux, load(family="SDXL"))
    assert TRIES[node](flux, load())


def test_a_flux_probe_is_refused_by_an_sdxl(load):
    with pytest.raises(
        ValueError, match='Attach Probe: The probe "faces" was trained for FLUX, and this MODEL is SDXL'
    ):
        AttachProbe.execute(random_sdxl(), load(), "20%")


@pytest.mark.parametrize("node", TRIES)
def test_a_probe_for_other_layers_is_refused_with_those_that_are_there(flux, load, node):
    says = (
        f'{node}: The probe "faces" reads layers that are not captured of this FLUX MODEL: single 13. '
        "Captured are: double 0, double 1, single 0, single 1, single 2, single 3. Connect the model that it was"
    )
    with pytest.raises(ValueError, match=says):
        TRIES[node](flux, load(blocks=("single 0", "single 13")))
    assert TRIES[node](flux, load())


def test_the_list_has_the_folders_probes_and_follows_it(probes, write_probe):
    assert LoadProbe.GET_SCHEMA().inputs[0].options == []
    (probes / "people").mkdir()
    write_probe(probes / "people" / NAME)
    (probes / "README.txt").write_text("about probes")
    assert [name.replace("\\", "/") for name in LoadProbe.GET_SCHEMA().inputs[0].options] == [f"people/{NAME}"]
    assert LoadProbe.execute(f"people/{NAME}")[0].name == "faces"


def test_a_file_that_was_trained_again_is_loaded_again(probes, write_probe):
    write_probe(probes / NAME)
    first = LoadProbe.fingerprint_inputs(NAME)
    assert LoadProbe.fingerprint_inputs(NAME) == first
    write_probe(probes / NAME, command="python -m training train")
    assert LoadProbe.fingerprint_inputs(NAME) != first


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_the_folder_is_refused_though_a_probe_lies_there(probes, write_probe, name):
    write_probe(probes.parent / NAME)
    write_probe(probes / NAME)  # where ComfyUI's own look-up would end, having dropped the way out
    with pytest.raises(ValueError) as refused:
        LoadProbe.execute(name)
    assert str(refused.value).startswith(f'Load Probe: "{name}" leads out of models/{FOLDER}. Accepted are names')
    assert LoadProbe.execute(NAME)[0].name == "faces"


def test_a_name_that_is_not_there_says_where_files_belong(probes):
    with pytest.raises(ValueError, match='Load Probe: There is no probe "none.safetensors"') as refused:
        LoadProbe.execute("none.safetensors")
    assert str(probes) in str(refused.value)


def test_a_pickled_or_truncated_file_is_refused_by_the_node(probes, load, scored):
    torch.save({"weight": torch.zeros(2)}, probes / "old.pt")
    load()
    content = (probes / NAME).read_bytes()
    (probes / NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="Load Probe: Old.pt is a pickled file"):
        LoadProbe.execute("old.pt")
    with pytest.raises(ValueError, match="Load Probe: Faces.safetensors is cut off or damaged"):
        LoadProbe.execute(NAME)
    assert len(scored(load())[0]) == 3


def test_seed_search_plans_with_the_skill_in_the_file(load, probe):
    measured = {"progress": [0.2, 0.4], "correlation": [0.5, 0.7], "spread": [], "source": "held out"}
    assert skill_of(load(search_skill=measured)) == Skill((0.2, 0.4), (0.5, 0.7), source="held out")
    assert skill_of(load()) == skill_of(probe) == PREVIEW
