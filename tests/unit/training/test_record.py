"""What a headless recording does when runs fail, without a server."""

import argparse

import pytest
from diffusion_probe.training.client import record as recording_client
from diffusion_probe.training.client.jobs import Job
from diffusion_probe.training.client.record import Recording
from diffusion_probe.training.client.server import PromptError

REPORT = {"run_bytes": 1, "free_bytes": 10, "runs": 1, "bytes": 1}


class FakeTemplate:
    dataset, record = "mine", "7"

    def fill(self, prompt, seeds):
        return prompt


class FakeClient:
    """Runs that end as listed: None as they should, or with an error."""

    def __init__(self, ends):
        self.ends, self.queued = list(ends), []

    def queue(self, prompt):
        self.queued.append(prompt)
        return prompt

    def events(self, prompt_id):
        return iter(())

    def outputs(self, prompt_id):
        error = self.ends[len(self.queued) - 1]
        if error is not None:
            raise error
        return {"7": {"diffusion_probe": [{**REPORT, "key": prompt_id}]}}


def recorded(ends, ask=False):
    """The message that a recording of as many runs ends with, and how many it queued."""
    client = FakeClient(ends)
    jobs = [Job(str(number), (number,), str(number)) for number in range(len(ends))]
    try:
        Recording(client, FakeTemplate()).run(jobs, ask)
    except SystemExit as stopped:
        return str(stopped), len(client.queued)
    return "", len(client.queued)


BAD = PromptError("it is black")


def test_all_well_ends_without_a_word():
    assert recorded([None] * 4) == ("", 4)


def test_single_failures_are_passed_over_and_counted_at_the_end():
    message, queued = recorded([None, BAD, None, BAD, BAD, None])
    assert queued == 6 and message.startswith("3 of 6 runs were recorded; 3 failed, the last with: it is black")


@pytest.mark.parametrize(
    ("ends", "queued"),
    [
        ([None, BAD, BAD, BAD, None], 4),
        ([BAD, None], 1),  # nothing has worked yet: the workflow is wrong
        ([None, PromptError("stopped", interrupted=True), None], 2),
        ([None, PromptError("Record Probe Data: The disk is full. Everything recorded before is intact"), None], 2),
    ],
)
def test_it_stops_where_going_on_is_no_use(ends, queued):
    message, done = recorded(ends)
    assert done == queued and "Run the same command again" in message


def test_another_key_than_expected_is_an_error():
    client = FakeClient([None])
    with pytest.raises(SystemExit, match="under another key than expected.*to one version"):
        Recording(client, FakeTemplate()).run([Job("a", (1,), "b")], ask=False)


def test_a_history_that_was_cleared_meanwhile_is_one_failure():
    client = FakeClient([None, None, None])
    outputs = client.outputs
    client.outputs = lambda prompt_id: {} if prompt_id == "1" else outputs(prompt_id)
    with pytest.raises(SystemExit, match="2 of 3 runs were recorded; 1 failed, the last with: .*history was cleared"):
        Recording(client, FakeTemplate()).run([Job(name, (1,), name) for name in "012"], ask=False)


def test_a_server_that_is_busy_is_not_taken_for_one_that_is_away(workflow):
    class Busy:
        def __init__(self, url, timeout):
            raise TimeoutError("No event from ComfyUI for 3600 s.")

    with pytest.raises(SystemExit, match="busy with other prompts. What was recorded is kept") as ended:
        workflow(Busy, "{}")
    assert "Start ComfyUI" not in str(ended.value)


@pytest.mark.parametrize("text", ["[1, 2]", '{"last": 7}', "\udc80", "5"])
def test_a_file_that_is_no_workflow_is_said_to_be_none(workflow, text):
    class Server(FakeClient):
        def __init__(self, url, timeout):
            super().__init__([])

        def object_info(self):
            return {}

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *given: None  # noqa: E731

    with pytest.raises(SystemExit, match="workflow.json is no workflow.*Save it in ComfyUI"):
        workflow(Server, text)


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    """Records a workflow of this text on a server of this kind."""

    def record(kind, text):
        monkeypatch.setattr(recording_client, "ComfyClient", kind)
        (tmp_path / "workflow.json").write_text(text, errors="surrogateescape")
        (tmp_path / "prompts.txt").write_text("a fox")
        options = argparse.ArgumentParser()
        recording_client.add_arguments(options)
        given = [str(tmp_path / "workflow.json"), "--prompts", str(tmp_path / "prompts.txt")]
        recording_client.record(options.parse_args(given))

    return record


def test_without_an_answer_it_stops_after_the_estimate(monkeypatch, capsys):
    def closed(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    message, queued = recorded([None] * 4, ask=True)
    assert queued == 2 and message.startswith("Stopped.") and "--yes" in message
    assert "2 runs to go" in "".join(capsys.readouterr())
