"""What a user reads about the nodes is complete, in both languages and on the help pages."""

import asyncio
import json

import pytest
from diffusion_probe import comfy_entrypoint
from diffusion_probe.nodes import NODES

from training.client.paths import PACK_ROOT

IDS = [
    "DiffusionProbeAttachProbe",
    "DiffusionProbeAttachRecorder",
    "DiffusionProbeAttentionFocus",
    "DiffusionProbeAttentionPreview",
    "DiffusionProbeCombineProbes",
    "DiffusionProbeEarlySeedFilter",
    "DiffusionProbeEncodeWords",
    "DiffusionProbeEvaluateProbe",
    "DiffusionProbeLoadProbe",
    "DiffusionProbeLoadRewardModel",
    "DiffusionProbeLoadTestbedModel",
    "DiffusionProbePreviewReward",
    "DiffusionProbePromptGate",
    "DiffusionProbePruneInFlight",
    "DiffusionProbeRecord",
    "DiffusionProbeSaveSeeds",
    "DiffusionProbeScore",
    "DiffusionProbeScoreImages",
    "DiffusionProbeSeedBatch",
    "DiffusionProbeSeedSearch",
    "DiffusionProbeShapesJudge",
    "DiffusionProbeTCPadeCache",
    "DiffusionProbeTrainProbe",
]
LEAVE_SOMETHING = (
    "DiffusionProbeEvaluateProbe",
    "DiffusionProbeRecord",
    "DiffusionProbeSaveSeeds",
    "DiffusionProbeTrainProbe",
)
LANGUAGES = ("en", "zh")


def locale(language: str, file: str) -> dict:
    return json.loads((PACK_ROOT / "locales" / language / f"{file}.json").read_text(encoding="utf-8"))


@pytest.fixture(params=NODES, ids=lambda node: node.__name__)
def schema(request):
    return request.param.GET_SCHEMA()


def test_the_extension_brings_exactly_the_documented_nodes():
    async def ids():
        extension = await comfy_entrypoint()
        return sorted(node.GET_SCHEMA().node_id for node in await extension.get_node_list())

    assert asyncio.run(ids()) == IDS


def test_every_node_can_be_found_and_understood(schema):
    assert schema.category.startswith("diffusion probe/")
    assert schema.display_name and schema.description and len(schema.search_aliases) >= 3
    # A gate or score that is an output node forces its branch to run.
    assert schema.is_output_node == (schema.node_id in LEAVE_SOMETHING)


def test_every_input_and_output_has_a_tooltip(schema):
    for socket in [*schema.inputs, *schema.outputs]:
        assert socket.tooltip and socket.tooltip.endswith("."), socket


def test_every_node_has_a_help_page_that_names_its_inputs(schema):
    page = (PACK_ROOT / "web" / "docs" / f"{schema.node_id}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {schema.display_name}\n")
    for socket in schema.inputs:
        assert f"**{socket.id.replace('_', ' ')}**" in page
    for heading in ("## Output", "## Example", "## Typical errors"):
        assert heading in page


def test_no_help_page_is_left_over():
    assert sorted(page.stem for page in (PACK_ROOT / "web" / "docs").glob("*.md")) == IDS


@pytest.mark.parametrize("language", LANGUAGES)
def test_locale_names_every_node_input_and_output(schema, language):
    entry = locale(language, "nodeDefs")[schema.node_id]
    assert entry["display_name"] and entry["description"]
    assert list(entry.get("inputs", {})) == [socket.id for socket in schema.inputs]
    assert list(entry["outputs"]) == [str(number) for number in range(len(schema.outputs))]
    for text in [*entry.get("inputs", {}).values(), *entry["outputs"].values()]:
        assert text["name"] and text["tooltip"]


def test_english_locale_says_what_the_schema_says(schema):
    entry = locale("en", "nodeDefs")[schema.node_id]
    assert (entry["display_name"], entry["description"]) == (schema.display_name, schema.description)
    for socket in schema.inputs:
        assert entry["inputs"][socket.id]["tooltip"] == socket.tooltip
    for number, socket in enumerate(schema.outputs):
        assert entry["outputs"][str(number)]["tooltip"] == socket.tooltip


@pytest.mark.parametrize("language", LANGUAGES)
def test_locale_names_every_category_and_socket_type(language):
    main = locale(language, "main")
    schemas = [node.GET_SCHEMA() for node in NODES]
    assert set(main["nodeCategories"]) == {part for schema in schemas for part in schema.category.split("/")}
    own = {socket.io_type for schema in schemas for socket in [*schema.inputs, *schema.outputs]}
    assert set(main["dataTypes"]) == {name for name in own if name.startswith("DIFFUSION_PROBE")}
