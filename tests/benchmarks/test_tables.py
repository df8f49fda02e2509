"""The pages of results and the model cards: what the result files and the probe files give, and nothing else."""

import json
import re
import shutil

import pytest

from training.client import loader
from training.client.paths import PACK_ROOT

RESULTS = PACK_ROOT / "benchmarks" / "results"
DOCS = PACK_ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def tables():
    """The command, imported without the ComfyUI that the other benchmarks need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "use_comfy", loader.use_pack)
        patch.syspath_prepend(str(PACK_ROOT))
        from benchmarks import tables
    return tables


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_pages_and_cards_are_what_the_results_give(tables):
    assert tables.differences() == []
    assert tables.main(["--check"]) == 0


def test_every_result_file_is_on_a_page_and_every_page_in_the_index(tables):
    used = {stem for page in tables.PAGES for stem in page.files.values()}
    assert used == {path.relative_to(RESULTS).with_suffix("").as_posix() for path in RESULTS.rglob("*.json")}
    index = (DOCS / "README.md").read_text()
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} == set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def test_links_of_pages_cards_and_notes_lead_to_files(tables):
    pages = [*tables.expected(), *(PACK_ROOT / "docs" / "notes").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    assert len(links) > len(pages)
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("where", ["table", "reading", "card"])
def test_a_changed_figure_is_noticed(tables, tmp_path, monkeypatch, where):
    """One digit of a copy of the pages is changed, and the copy compared with what the results give."""
    texts = {tmp_path / path.relative_to(PACK_ROOT): text for path, text in tables.expected().items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(tables, "expected", lambda results: texts)
    monkeypatch.setattr(tables, "PACK_ROOT", tmp_path)
    assert tables.main(["--check"]) == 0
    name, figure = {
        "table": ("docs/results/probe-accuracy.md", r"\| joint probe \| 0\.(\d)"),
        "reading": ("docs/results/seed-search.md", r"by the joint probe takes 0\.(\d)"),
        "card": ("testbed/probes/sdxl/joint.md", r"oracle share \| 0\.(\d)"),
    }[where]
    text = (tmp_path / name).read_text()
    at = re.search(figure, text).start(1)
    (tmp_path / name).write_text(f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}")
    assert tables.differences() == [tmp_path / name]
    assert tables.main(["--check"]) == 1


def test_a_changed_result_changes_its_page_and_the_cards(tables, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(RESULTS, folder)
    record = result("probe_accuracy_flux")
    for row in record["rows"]:
        if row["probe"] == "joint":
            row["within_spearman"] = 0.1234
    (folder / "probe_accuracy_flux.json").write_text(json.dumps(record))
    changed = {path.relative_to(PACK_ROOT).as_posix() for path in tables.differences(folder)}
    assert changed == {"docs/results/probe-accuracy.md", "testbed/probes/flux/joint.md"}


def test_a_page_that_belongs_to_no_question_is_noticed(tables, tmp_path, monkeypatch):
    texts = {tmp_path / "page.md": "text\n"}
    (tmp_path / "page.md").write_text("text\n")
    (tmp_path / "left-over.md").write_text("old\n")
    monkeypatch.setattr(tables, "expected", lambda results: texts)
    assert tables.differences() == [tmp_path / "left-over.md"]


@pytest.mark.parametrize("model", ["flux", "sdxl"])
def test_figures_on_pages_and_cards_are_those_of_the_files(model):
    """Computed here from the JSON, without the code that writes the pages."""
    page, cards = (DOCS / "probe-accuracy.md").read_text(), PACK_ROOT / "testbed" / "probes" / model
    for row in result(f"probe_accuracy_{model}")["rows"]:
        if row["probe"] in ("joint", "attention", "activation"):
            low, high = row["within_ci"]
            cell = f"{row['within_spearman']:.2f} [{low:.2f}, {high:.2f}]".replace("-0.00", "0.00")
            assert cell in page and cell in (cards / f"{row['probe']}.md").read_text()
    search = result(f"seed_search_{model}")
    for row in search["rows"]:
        assert f"| {row['method']} | {row['score']:.3f} [" in (DOCS / "seed-search.md").read_text()
    for row in search["cached_search"]:
        line = f"{row['nfe_rows']:.0f} instead of {row['uncached_rows']:.0f}"
        assert line in (DOCS / "cached-search.md").read_text()


def test_what_the_readings_claim_holds():
    """Sentences of the pages that compare, checked by the results."""
    for model in ("flux", "sdxl"):
        accuracy = {(row["probe"], row["step"]): row for row in result(f"probe_accuracy_{model}")["rows"]}
        share = {key: row["oracle_share"] for key, row in accuracy.items()}
        assert share["joint", 1] > share["best-of-n", 5] and share["preview", 5] > share["best-of-n", 5]
        assert share["focus", 5] < share["best-of-n", 5]
        search = {row["method"]: row for row in result(f"seed_search_{model}")["rows"]}
        assert search["sequential, joint"]["over_best_of_n_ci"][0] > 0
        assert search["one cut at 20 %, joint"]["over_best_of_n_ci"][0] > 0
    flux = {row["method"]: row for row in result("seed_search_flux")["rows"]}
    assert flux["one cut at 20 %, joint"]["score"] >= flux["sequential, joint"]["score"]
    learnt = result("probe_learning_parts_flux")["trainings"]
    assert learnt["attention cnn, middle block"]["moments"]["0.56"]["ci"][1] < 0.1
    assert result("self_attention_flux")["differences"]["cross-attention by word - self-attention"]["all"][1] > 0


def test_a_model_card_is_beside_every_probe(tables):
    from diffusion_probe.probe_models.probe_file import load_probe

    probes = sorted((PACK_ROOT / "testbed" / "probes").glob("*/*.safetensors"))
    assert len(probes) == 6
    for path in probes:
        card, text = load_probe(path).card, path.with_suffix(".md").read_text()
        assert all(moment in text for moment in card.moments) and card.command in text
        assert f"{card.images:,} recorded images of {card.prompts:,} training prompts" in text
        assert f"`{card.label}`" in text and f"| {card.held_out['within_spearman']:.2f} |" in text


def test_commands_can_be_typed(tables):
    """Names and JSON with spaces are one word for a shell, and the output is the file itself."""
    import shlex

    from benchmarks.lib.pages.page import command

    for page in tables.PAGES:
        for stem in page.files.values():
            words = shlex.split(command(result(stem), stem))
            assert words[:2] == ["python", "-m"] and words[-1] == f"benchmarks/results/{stem}.json"
            options = dict(zip(words, words[1:]))
            assert not ("--steps" in options and "{" in options["--steps"]) or json.loads(options["--steps"])
    assert "LAION aesthetic" in shlex.split(command(result("parity_clip"), "parity_clip"))
