"""What a user reads about the nodes is complete, in both languages and on the help pages."""

import ast
import asyncio
import json
import re

import pytest
from diffusion_probe import comfy_entrypoint
from diffusion_probe.nodes import NODES

from dev import locales_run
from training.client.paths import PACK_ROOT

IDS = [
    "DiffusionProbeAttachProbe",
    "DiffusionProbeAttachRecorder",
    "DiffusionProbeAttentionFocus",
    "DiffusionProbeAttentionPreview",
    "DiffusionProbeCombineProbes",
    "DiffusionProbeCombineRewards",
    "DiffusionProbeEarlySeedFilter",
    "DiffusionProbeEncodeWords",
    "DiffusionProbeEvaluateProbe",
    "DiffusionProbeLoadProbe",
    "DiffusionProbeLoadRewardModel",
    "DiffusionProbeLoadTestbedModel",
    "DiffusionProbePreviewImages",
    "DiffusionProbePreviewReward",
    "DiffusionProbePromptGate",
    "DiffusionProbePromptLoop",
    "DiffusionProbePromptToRewrite",
    "DiffusionProbePruneInFlight",
    "DiffusionProbeRecord",
    "DiffusionProbeSaveSeeds",
    "DiffusionProbeScore",
    "DiffusionProbeScoreImages",
    "DiffusionProbeScoresFromValues",
    "DiffusionProbeSeedBatch",
    "DiffusionProbeSeedSearch",
    "DiffusionProbeSeedSearchCustom",
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
CURLY = set("\u201c\u201d\u2018\u2019")
SAME_IN_CHINESE = ("CFG", "CLIP", "Latent", "VAE", "beta")
DOCUMENTS = "https://github.com/diffusion-probe/diffusion-probe/blob/main/docs/"
SCHEMAS = {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in NODES}


def texts_in_code(path) -> list[str]:
    """All texts in a module but its docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = (node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value.lower() for node in texts if id(node) not in docstrings]


ROOMS = ("engine", "nodes", "probe_models", "testbed", "training")
MESSAGES = [text for room in ROOMS for path in (PACK_ROOT / room).rglob("*.py") for text in texts_in_code(path)]


def page(node: str) -> str:
    return (PACK_ROOT / "web" / "docs" / f"{node}.md").read_text(encoding="utf-8")


def leaves(texts: dict, path: str = "") -> dict[str, str]:
    """All texts of a locale by their path."""
    found = {}
    for name, value in texts.items():
        here = f"{path}/{name}".strip("/")
        found |= leaves(value, here) if isinstance(value, dict) else {here: value}
    return found


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
    assert schema.category.split("/")[0] == "diffusion probe"
    assert schema.display_name and schema.description and len(schema.search_aliases) >= 3
    # A gate or score that is an output node forces its branch to run.
    assert schema.is_output_node == (schema.node_id in LEAVE_SOMETHING)


def test_every_input_and_output_has_a_short_tooltip(schema):
    for socket in [*schema.inputs, *schema.outputs]:
        assert socket.tooltip and socket.tooltip.endswith(".") and len(socket.tooltip) <= 120, socket.tooltip


def test_texts_use_straight_quotes_and_words_of_the_glossary(schema):
    for text in [schema.description, *(socket.tooltip for socket in [*schema.inputs, *schema.outputs])]:
        assert not set(text) & CURLY, text
        assert not re.search(r"\b(fate|lies?|became|apart|asked|told|judges?d?)\b", text.replace("the judge's", "")), (
            text
        )


@pytest.mark.parametrize("node", IDS)
def test_a_help_page_is_short_and_begins_with_what_matters(node):
    text = page(node)
    assert len(text.encode()) <= (4000 if node == "DiffusionProbeSeedSearch" else 2500)
    title, head, body = re.match(r"# (.+)\n\n## (.+)\n\n(.+)\n", text).groups()
    assert title == SCHEMAS[node].display_name and head == "In short"
    assert 1 <= len(re.findall(r"[.?!](?= [A-Z]|$)", body)) <= 3
    assert re.findall(r"^## (?!You choose|The board|Other nodes)(.+)$", text, re.M)[1:] == [
        "Inputs and outputs", "Example", "Common faults"
    ]  # fmt: skip
    assert not set(text) & CURLY


@pytest.mark.parametrize("node", IDS)
def test_a_help_page_speaks_of_inputs_and_outputs_that_exist(node):
    schema = SCHEMAS[node]
    inputs = {socket.id.replace("_", " ") for socket in schema.inputs}
    outputs = {socket.display_name.replace("_", " ") for socket in schema.outputs}
    section = page(node).partition("## Inputs and outputs")[2].partition("\n## ")[0]
    for subject in re.findall(r"^- (\*\*.+?)(?::|, with)", section, re.M):
        allowed = outputs if "(output)" in subject else inputs | outputs
        assert set(re.findall(r"\*\*(.+?)\*\*", subject)) <= allowed, subject


@pytest.mark.parametrize("node", IDS)
def test_a_help_page_quotes_messages_that_the_pack_can_give(node):
    faults = page(node).partition("## Common faults")[2]
    for messages in re.findall(r'^- (".+?")(?::| \(| says?)', faults, re.M):
        for fragment in re.findall(r'[^"…,]{6,}', messages):
            assert any(fragment.strip().lower() in message for message in MESSAGES), fragment


@pytest.mark.parametrize("node", IDS)
def test_a_help_page_links_to_documents_that_exist(node):
    for link in re.findall(r"\]\((https?:.+?)\)", page(node)):
        assert link.startswith(DOCUMENTS), link
        name, _, anchor = link.removeprefix(DOCUMENTS).partition("#")
        headings = re.findall(r"^#+ (.+)$", (PACK_ROOT / "docs" / name).read_text(encoding="utf-8"), re.M)
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], link


def test_no_help_page_is_left_over():
    assert sorted(path.stem for path in (PACK_ROOT / "web" / "docs").glob("*.md")) == IDS


def test_english_locale_is_what_the_schemas_say():
    assert locales_run.FILE.read_text(encoding="utf-8") == locales_run.english_texts(), "run python -m dev.locales"


def test_chinese_locale_has_the_same_entries_as_the_english_one():
    assert list(leaves(locale("zh", "nodeDefs"))) == list(leaves(locale("en", "nodeDefs")))


def test_no_chinese_entry_is_left_in_english():
    english = leaves(locale("en", "nodeDefs"))
    for path, text in leaves(locale("zh", "nodeDefs")).items():
        assert re.search("[\u4e00-\u9fff]", text) or (text in SAME_IN_CHINESE and path.endswith("name")), path
        assert text != english[path] or text in SAME_IN_CHINESE


def test_chinese_entries_have_the_numbers_and_options_of_the_english_ones():
    english, chinese = (leaves(locale(language, "nodeDefs")) for language in LANGUAGES)
    for path, text in english.items():
        numbers = [sorted(re.findall(r"\d+(?:\.\d+)?", each)) for each in (text, chinese[path])]
        assert set(numbers[0]) - set("0123") <= set(numbers[1]), path
    for node, schema in SCHEMAS.items():
        for socket in schema.inputs:
            tooltip = chinese[f"{node}/inputs/{socket.id}/tooltip"]
            for option in getattr(socket, "options", None) or ():
                assert (f'"{option}"' in socket.tooltip) == (f'"{option}"' in tooltip), (node, socket.id, option)


@pytest.mark.parametrize("language", LANGUAGES)
def test_locale_names_every_category_and_socket_type(language):
    main = locale(language, "main")
    schemas = [node.GET_SCHEMA() for node in NODES]
    assert set(main["nodeCategories"]) == {part for schema in schemas for part in schema.category.split("/")}
    own = {socket.io_type for schema in schemas for socket in [*schema.inputs, *schema.outputs]}
    assert set(main["dataTypes"]) == {name for name in own if name.startswith("DIFFUSION_PROBE")}


def test_an_artist_meets_five_nodes_and_the_rest_is_in_folders():
    at_the_top = sorted(schema.display_name for schema in SCHEMAS.values() if schema.category == "diffusion probe")
    assert at_the_top == ["Load Reward Model", "Preview Reward", "Save Seed Images", "Seed Search", "TC-Padé Cache"]
    kit = {schema.display_name for schema in SCHEMAS.values() if schema.category == "diffusion probe/construction kit"}
    assert {"Seed Batch", "Attach Probe", "Probe Score", "Early Seed Filter", "Prune in Flight"} <= kit


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            "DiffusionProbeSeedSearch",
            "pick best, best seed, many seeds, seed explorer, variations, batch seeds, choose image, image filter",
        ),
        ("DiffusionProbeTCPadeCache", "cache, speed up, faster"),
    ],
)
def test_a_node_is_found_by_the_words_that_people_type(node, words):
    assert set(words.split(", ")) <= set(SCHEMAS[node].search_aliases)


def test_seed_search_shows_first_what_every_search_needs():
    shown = [socket.id for socket in SCHEMAS["DiffusionProbeSeedSearch"].inputs if not socket.advanced]
    rare = {"policy", "judge", "target", "positive_2", "positive_3", "positive_4", "unskilled_scores"}
    assert not rare & set(shown) and {"probe", "seed", "candidates", "survivors", "budget", "steps"} <= set(shown)


NOT_TRANSLATED = {"flux", "sdxl", "VAE"}
"""Options that are names; those of ComfyUI's own lists and files are, too."""


def test_every_option_of_a_node_has_a_chinese_label():
    names = {"sampler_name", "scheduler", "name"}
    lists = [socket.options for schema in SCHEMAS.values() for socket in schema.inputs if _has_options(socket, names)]
    options = {option for each in lists for option in each} - NOT_TRANSLATED
    labels = locale("zh", "main")["diffusionProbeOptions"]
    assert set(labels) == options and len(set(labels.values())) == len(labels)
    assert "diffusionProbeOptions" not in locale("en", "main"), "in English the options are their own labels"


def _has_options(socket, names) -> bool:
    return socket.id not in names and bool(getattr(socket, "options", None))


def test_sentences_of_the_server_in_chinese_are_ones_that_it_can_write():
    sentences = locale("zh", "main")["diffusionProbeSentences"]
    for english, chinese in sentences.items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), english
        assert re.search("[\u4e00-\u9fff]", chinese)
        for fragment in re.split(r"{\w+}|[():.]|Took ", english):
            words = fragment.strip().lower()
            assert len(words) < 6 or any(words in message for message in MESSAGES), fragment
    lengths = [len(english) for english in sentences]
    assert lengths == sorted(lengths, reverse=True), "a sentence has to be found before one that is a part of it"
