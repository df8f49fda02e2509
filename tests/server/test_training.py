"""Train Probe and Evaluate Probe on the real server, with a tiny dataset."""

import pytest
from diffusion_probe.probe_models.probe_file import load_probe

from support.saved import template_prompt
from training.client.server import PromptError


def template(client, name, /, **values):
    """A saved workflow as a prompt, with other values; and the id of the node that works on a dataset."""
    prompt = template_prompt(name, client.object_info())
    for node in prompt.values():
        node["inputs"] |= {key: value for key, value in values.items() if key in node["inputs"]}
    (worker,) = [number for number, node in prompt.items() if "dataset" in node["inputs"]]
    return prompt, worker


@pytest.fixture(scope="module")
def dataset(server, record):
    return record(server.output_directory / "probe_data" / "tests" / "training", prompts=20).relative_to(
        server.output_directory / "probe_data"
    )


@pytest.fixture
def folder(server_models):
    """The server's folder of probes; afterwards what was trained is gone, as if nobody had."""
    yield server_models / "diffusion_probes"
    for path in (server_models / "diffusion_probes").glob("*made*"):
        path.unlink()


def test_train_interrupt_go_on_and_evaluate(client, run, folder, dataset):
    chosen = {"dataset": dataset.as_posix(), "kind": "attention cnn", "output_name": "made", "steps": 30}
    prompt, node = template(client, "train-probe", **chosen)
    number = client.queue(prompt)
    for event in client.events(number):
        if event["type"] == "progress" and event["data"]["value"] == 1:
            client.interrupt(number)
    with pytest.raises(PromptError, match="Interrupted in DiffusionProbeTrainProbe"):
        client.outputs(number)
    path = folder / "made.safetensors"
    assert load_probe(path).card.kind == "attention cnn"

    done = run(prompt)
    progress = [data["value"] for data in done.data("progress", node)]
    assert progress[0] > 1 and progress[-1] == 30
    assert "30 of 30 steps" in done.text(node) and len(done.images(node)) == 1
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")

    prompt, node = template(client, "evaluate-probe", dataset=dataset.as_posix(), name="made.safetensors")
    done = run(prompt)
    assert "that it was not trained on. They decided" in done.text(node) and "| 20% | best-of-n |" in done.text(node)
    (report,) = done.outputs[node]["diffusion_probe"]
    assert report["probe"] == "made" and {row["moment"] for row in report["rows"]} == {"10%", "20%"}
    assert len(done.images(node)) == 1
