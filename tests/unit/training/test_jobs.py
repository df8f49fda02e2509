"""Which runs a headless recording consists of, and when two are the same."""

import copy

import pytest
from diffusion_probe.training.client.jobs import PromptLine, Template, own_seeds, read_prompts
from diffusion_probe.training.client.record import estimate
from diffusion_probe.training.dataset.workflow_key import nodes_before, workflow_key

from support.graphs import node


@pytest.fixture
def workflow():
    return {
        "1": node("UNETLoader", unet_name="flux1-dev.safetensors"),
        "2": node("PrimitiveStringMultiline", value="a red fox"),
        "3": node("DiffusionProbeEncodeWords", clip=["1", 1], text=["2", 0]),
        "4": node("DiffusionProbeAttachRecorder", model=["1", 0], moments="20%"),
        "5": node("KSampler", model=["4", 0], positive=["3", 0], seed=7, cfg=1, steps=20),
        "6": node("VAEDecode", samples=["5", 0]),
        "7": node("DiffusionProbeRecord", model=["4", 0], latent=["5", 0], images=["6", 0], prompt=["2", 0], dataset="d"),  # noqa: E501
        "8": node("SaveImage", images=["6", 0], filename_prefix="x"),
    }  # fmt: skip


@pytest.fixture
def batched(workflow):
    workflow["9"] = node("DiffusionProbeSeedBatch", model=["4", 0], first_seed=1, count=4, seeds="")
    workflow["5"]["inputs"]["model"] = ["9", 1]
    return workflow


def key(workflow, number="7", prompt="a red fox"):
    return workflow_key(workflow.__getitem__, number, prompt)


def renamed(workflow, old, new):
    text = {old: new}
    return {
        text.get(number, number): node(
            given["class_type"],
            **{
                name: [text.get(value[0], value[0]), value[1]] if isinstance(value, list) else value
                for name, value in given["inputs"].items()
            },
        )
        for number, given in workflow.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda workflow: workflow["5"]["inputs"].update(cfg=1.0),  # as ComfyUI writes it
        lambda workflow: workflow["7"]["inputs"].update(dataset="other"),
        lambda workflow: workflow["8"]["inputs"].update(filename_prefix="y"),
        lambda workflow: workflow["3"].update(_meta={"title": "Positive"}),
        lambda workflow: workflow.pop("8"),
    ],
)
def test_what_does_not_change_a_run_does_not_change_its_key(workflow, change):
    before = key(workflow)
    change(workflow)
    assert key(workflow) == before


def test_ids_do_not_count(workflow):
    assert key(renamed(workflow, "5", "12:7")) == key(workflow)


@pytest.mark.parametrize(
    "change",
    [
        lambda workflow: workflow["5"]["inputs"].update(seed=8),
        lambda workflow: workflow["5"]["inputs"].update(cfg=1.5),
        lambda workflow: workflow["1"]["inputs"].update(unet_name="other.safetensors"),
        lambda workflow: workflow["4"]["inputs"].update(moments="20%, 40%"),
        lambda workflow: workflow["6"].update(class_type="VAEDecodeTiled"),
        lambda workflow: workflow["6"]["inputs"].update(samples=["5", 1]),
    ],
)
def test_what_changes_a_run_changes_its_key(workflow, change):
    before = key(workflow)
    change(workflow)
    assert key(workflow) != before


def test_another_text_from_the_same_nodes_is_another_run(workflow):
    assert key(workflow) != key(workflow, prompt="a red cat")


def test_nodes_before_are_all_that_the_record_needs(workflow):
    assert sorted(nodes_before(workflow.__getitem__, "7")) == ["1", "2", "3", "4", "5", "6", "7"]


def test_prompts_are_read_from_text_and_from_json_lines(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text('\ufeffa fox\n\n  two cats \na fox\n{"prompt": "a {red} dog", "seeds": [3, 4]}\n', encoding="utf-8")
    assert read_prompts(path) == [PromptLine("a fox"), PromptLine("two cats"), PromptLine("a {red} dog", (3, 4))]


def test_seeds_that_are_named_on_several_lines_all_count(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a fox", "seeds": [1, 2]}\n{"prompt": "a cat"}\n{"prompt": "a fox", "seeds": [2, 3]}\n')
    assert read_prompts(path) == [PromptLine("a fox", (1, 2, 3)), PromptLine("a cat")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n \n", "holds no prompt. Write one a line"),
        ('a fox\n{"text": "a cat"}', 'line 2 is no prompt. Accepted: plain text, or {"prompt"'),
        ('{"prompt": ""}', "line 1 is no prompt"),
        ('{"prompt": "a cat", "seeds": [-1]}', "line 1 is no prompt"),
        ('{"prompt": "a cat", "seeds": 4}', "line 1 is no prompt"),
        ("{a|b} cat", "line 1 is no prompt"),
    ],
)
def test_a_prompts_file_that_can_not_be_read_is_an_error_with_the_line(tmp_path, text, says):
    path = tmp_path / "prompts.txt"
    path.write_text(text)
    with pytest.raises(ValueError) as refusal:
        read_prompts(path)
    assert says in str(refusal.value)


def test_every_prompt_has_seeds_of_its_own_wherever_it_stands():
    assert own_seeds("a fox", 4) == own_seeds("a fox", 8)[:4] and not set(own_seeds("a fox", 8)) & set(
        own_seeds("a cat", 8)
    )
    assert own_seeds("a fox", 2, first_seed=5)[0] == own_seeds("a fox", 1)[0] + 5


def test_a_sampler_takes_one_seed_a_run_and_only_what_the_record_needs_is_queued(workflow):
    template, before = Template(workflow), copy.deepcopy(workflow)
    (first, second) = template.jobs([PromptLine("two cats")], 2)
    filled = template.fill(first.prompt, first.seeds)
    assert filled["2"]["inputs"]["value"] == "two cats" and filled["5"]["inputs"]["seed"] == first.seeds[0]
    assert "8" not in filled and workflow == before
    assert first.key == key(filled, prompt="two cats") != second.key


def test_a_seed_batch_takes_as_many_seeds_a_run_as_it_counts(batched):
    template = Template(batched, dataset="mine")
    jobs = list(template.jobs([PromptLine("two cats"), PromptLine("a fox", (5, 9))], 6))
    assert [len(job.seeds) for job in jobs] == [4, 2, 2] and jobs[2].seeds == (5, 9)
    filled = template.fill(jobs[2].prompt, jobs[2].seeds)
    assert filled["9"]["inputs"]["seeds"] == "5, 9" and filled["9"]["inputs"]["count"] == 2
    assert filled["7"]["inputs"]["dataset"] == "mine" and filled["5"]["inputs"]["seed"] == 7


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("7"), "has 0 Record Probe Data nodes. It has to have one"),
        (lambda w: w.update({"10": w["7"]}), "has 2 Record Probe Data nodes"),
        (lambda w: w.pop("6"), "a link from node '6', which isn't there"),
        (lambda w: w["7"]["inputs"].update(prompt="a red fox"), "doesn't come from a text node. Put one"),
        (lambda w: w["7"]["inputs"].update(prompt=["1", 0], x=w["1"]["inputs"].update(b="c")), "from a text node"),
        (lambda w: w["7"]["inputs"].update(dataset=["2", 0]), "dataset of Record Probe Data comes from another node"),
        (lambda w: w["5"]["inputs"].update(seed=["2", 0]), "it isn't clear where seeds go; found: none"),
        (lambda w: w["6"]["inputs"].update(noise_seed=3), r"found: .*KSampler \(node 5\)"),
    ],
)
def test_a_workflow_without_inputs_for_prompts_or_seeds_is_refused_with_the_fix(workflow, change, says):
    change(workflow)
    with pytest.raises(ValueError, match=says):
        Template(workflow)


def test_the_estimate_is_of_what_is_to_go_and_says_when_the_disk_is_too_small():
    report = {"run_bytes": 2_000_000, "free_bytes": 10_000_000_000}
    assert estimate(1000, 30.0, report) == (
        "1000 runs to go: about 8 h 20 min at 30.0 s a run, and 2.00 GB at 2.00 MB a run; 10.0 GB are free."
    )
    assert "about 5 min" in estimate(10, 30.0, report)
    assert estimate(6000, 30.0, report).endswith("That is not enough: make room, or record fewer prompts or moments.")


def test_a_dataset_is_looked_for_under_the_name_that_the_node_writes_to(workflow):
    assert Template(workflow, " mine ").dataset == "mine"
