"""The demo on the shipped workflow: what it leaves behind and what it says it cost."""

from PIL import Image

from dev.demo_run import WORKFLOW, run_workflow
from training.client.workflow import load_prompt


def test_the_demo_leaves_the_survivors_and_a_sheet_of_all(client, tmp_path):
    prompt = load_prompt(WORKFLOW, client.object_info())
    (seeds,) = [node for node in prompt.values() if node["class_type"] == "DiffusionProbeSeedBatch"]
    seeds["inputs"]["first_seed"] = 300  # nothing cached by another test: what ran is counted
    outcome = run_workflow(client, prompt, tmp_path)
    kept = [candidate for candidate in outcome.candidates if candidate.kept]
    assert 0 < len(kept) < len(outcome.candidates)
    assert {path.name for path in tmp_path.iterdir()} == {
        "contact_sheet.png",
        *(f"seed_{candidate.seed}.png" for candidate in kept),
    }
    assert len(outcome.previews) == len(outcome.candidates)
    assert outcome.spent < outcome.full
    assert Image.open(tmp_path / "contact_sheet.png").width > 4 * 128
