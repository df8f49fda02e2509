"""GitHub's workflows and templates: they parse, run what exists, and publish nothing untested."""

import re
import shlex

import pytest
import yaml

from training.client.paths import PACK_ROOT

GITHUB = PACK_ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("workflows/*.yml"))}
ACTIONS = {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("actions/*/action.yml"))}
FORMS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml"))}
TARGETS = set(re.findall(r"^([a-z-]+):", (PACK_ROOT / "Makefile").read_text(), re.MULTILINE))
ON = True  # YAML 1.1 reads the key `on` so


def steps():
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            yield from job.get("steps", ())
    for action in ACTIONS.values():
        yield from action["runs"]["steps"]


def is_module(name: str) -> bool:
    path = PACK_ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.parametrize("command", [line for step in steps() for line in step.get("run", "").splitlines()])
def test_every_command_is_a_target_of_make_or_a_module_of_the_pack(command):
    program, *arguments = shlex.split(command)
    if program == "make":
        assert arguments[0] in TARGETS
    else:
        assert (program, arguments[0]) == ("python3", "-m") and is_module(arguments[1])


def test_workflows_run_on_pushes_on_pull_requests_and_on_a_change_of_pyproject():
    assert sorted(WORKFLOWS) == ["check", "comfy", "publish"]
    assert "push" in WORKFLOWS["check"][ON] and "pull_request" in WORKFLOWS["comfy"][ON]
    assert WORKFLOWS["publish"][ON] == {"push": {"branches": ["main"], "paths": ["pyproject.toml"]}}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_the_repository_and_nothing_else(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job and ("uses" in job or job["timeout-minutes"] <= 60)
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_only_the_last_job_has_a_secret_and_it_waits_for_all_tests():
    holders = [(name, job) for name, w in WORKFLOWS.items() for job in w["jobs"] if "secrets." in str(w["jobs"][job])]
    assert holders == [("publish", "publish")]
    jobs = WORKFLOWS["publish"]["jobs"]
    assert jobs["publish"]["needs"] == ["check", "comfy"]
    for tested in ("check", "comfy"):
        assert jobs[tested]["uses"] == f"./.github/workflows/{tested}.yml" and jobs[tested]["needs"] == "version"
        assert jobs[tested]["if"] == "needs.version.outputs.changed == 'true'"
        assert "workflow_call" in WORKFLOWS[tested][ON]


def test_actions_of_others_are_pinned_to_a_commit():
    uses = [step["uses"] for step in steps() if "uses" in step]
    others = [name for name in uses if not name.startswith(("./", "actions/"))]
    assert others and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in others)


def test_no_command_holds_what_others_can_write():
    """A branch's name or a title inside a command would be run as one."""
    assert not [step["run"] for step in steps() if "${{" in step.get("run", "")]


def test_actions_of_the_repository_itself_exist():
    own = {step["uses"] for step in steps() if step.get("uses", "").startswith("./")}
    assert own == {f"./.github/actions/{name}" for name in ACTIONS} and own


def test_what_the_cache_is_named_after_exists():
    (key,) = (step["with"]["key"] for step in steps() if step.get("uses", "").startswith("actions/cache@"))
    names = re.findall(r"'([^']+)'", key)
    assert len(names) > 2 and all((PACK_ROOT / name).is_file() for name in names)


def test_issue_forms_ask_for_what_an_answer_needs():
    forms = {name: form["body"] for name, form in FORMS.items() if name != "config"}
    asked = {name: [field["id"] for field in body if "id" in field] for name, body in forms.items()}
    assert sorted(asked) == ["bug", "model_family", "question", "wrong_image"]
    assert {"comfyui", "graph", "log"} <= set(asked["bug"])
    assert {"comfyui", "images", "graph", "sampler"} <= set(asked["wrong_image"])
    for name, ids in asked.items():
        assert FORMS[name]["name"] and FORMS[name]["description"] and len(ids) == len(set(ids))
        for field in FORMS[name]["body"]:
            assert field["type"] in ("markdown", "textarea", "input", "dropdown")
            assert field["attributes"]["value" if field["type"] == "markdown" else "label"]


def test_pre_commit_runs_the_ruff_that_set_up_installs_and_the_quick_checks():
    configuration = yaml.safe_load((PACK_ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {repo["repo"].split("/")[-1]: repo for repo in configuration["repos"]}
    pinned = (PACK_ROOT / "dev" / "requirements-dev.txt").read_text()
    assert f"\nruff=={hooks['ruff-pre-commit']['rev'].removeprefix('v')}\n" in pinned
    (local,) = hooks["local"]["hooks"]
    assert shlex.split(local["entry"])[-3:] == ["-m", "dev.check", "--quick"] and is_module("dev.check")
