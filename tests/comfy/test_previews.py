"""Each row and candidate is shown its own picture, whatever previewers other packs have put in ComfyUI's place."""

import comfy.utils
import latent_preview
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod, args
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.board.pictures import small_picture
from diffusion_probe.engine.board.search_board import SearchBoard
from diffusion_probe.engine.capture.previews import preview_images
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.marks import NO_MARKS
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.progress import RowProgress
from diffusion_probe.engine.seed_search.search import SearchOptions, seed_search
from diffusion_probe.engine.seed_search.watcher import Unwatched
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from PIL import Image

STEPS = 4


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture(autouse=True)
def rgb(monkeypatch):
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)


@pytest.fixture
def rows():
    """What three rows have come to."""
    generator = torch.Generator().manual_seed(0)
    return [
        Features("FLUX", "step 1", 1, 1.0, 0.0, denoised=torch.randn((16, 8, 12), generator=generator))
        for _ in range(3)
    ]


class Remembering(latent_preview.LatentPreviewer):
    """As a popular pack's: within a second it gives the picture from before."""

    def __init__(self, stock, memory):
        self.stock, self.memory = stock, memory

    def decode_latent_to_preview_image(self, preview_format, x0):
        if "picture" not in self.memory:
            self.memory["picture"] = self.stock.decode_latent_to_preview_image(preview_format, x0)
        return self.memory["picture"]


class Silent(Remembering):
    """Draws while sampling only."""

    def decode_latent_to_preview_image(self, preview_format, x0):
        return None


class Raising(Remembering):
    def decode_latent_to_preview_image(self, preview_format, x0):
        raise RuntimeError("no memory for pictures")


class Often(Remembering):
    """Draws every third picture anew."""

    def decode_latent_to_preview_image(self, preview_format, x0):
        self.memory["count"] = self.memory.get("count", -1) + 1
        if self.memory["count"] % 3 == 0:
            self.memory.pop("picture", None)
        return super().decode_latent_to_preview_image(preview_format, x0)


class Transparent(Remembering):
    """Draws well, in pictures of another kind."""

    def decode_latent_to_preview_image(self, preview_format, x0):
        kind, picture, size = self.stock.decode_latent_to_preview_image(preview_format, x0)
        return kind, picture.convert("RGBA"), size


def installed(monkeypatch, kind, shared):
    """Put another pack's previewer in the place of ComfyUI's; ``shared``: all remember one picture."""
    stock, memory, made = latent_preview.get_previewer, {}, []

    def get_previewer(*given):
        made.append(kind(stock(*given), memory if shared else {}))
        return made[-1]

    monkeypatch.setattr(latent_preview, "get_previewer", get_previewer)
    return memory, made


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", [Remembering, Silent, Raising, Often, Transparent])
def test_each_row_has_the_picture_that_it_has_alone(model, rows, monkeypatch, kind, shared):
    expected = torch.cat([preview_images(model, [row]) for row in rows])
    assert len({picture.numpy().tobytes() for picture in expected}) == 3
    installed(monkeypatch, kind, shared)
    assert torch.equal(preview_images(model, rows), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_a_single_row_is_not_shown_what_was_drawn_before_it(model, rows, monkeypatch, shared):
    expected = preview_images(model, rows[1:2])
    memory, _ = installed(monkeypatch, Remembering, shared)
    memory["picture"] = ("JPEG", Image.new("RGB", (12, 8)), 512)
    assert torch.equal(preview_images(model, rows[1:2]), expected)


def test_comfyuis_own_previewer_is_made_once_for_all_rows(model, rows, monkeypatch):
    """One of TAESD is loaded from a file."""
    made = []
    stock = latent_preview.get_previewer
    monkeypatch.setattr(latent_preview, "get_previewer", lambda *given: made.append(1) or stock(*given))
    assert len(preview_images(model, rows)) == 3 and len(made) == 1


def test_rows_that_are_alike_have_the_same_picture(model, rows, monkeypatch):
    twice = [rows[0], rows[1], rows[0]]
    expected = preview_images(model, twice)
    installed(monkeypatch, Transparent, False)
    pictures = preview_images(model, twice)
    assert torch.equal(pictures, expected) and torch.equal(pictures[0], pictures[2])


def test_a_previewer_that_cannot_even_be_made_costs_no_picture(model, rows, monkeypatch):
    expected = preview_images(model, rows)

    def broken(*given):
        raise FileNotFoundError("no decoder")

    monkeypatch.setattr(latent_preview, "get_previewer", broken)
    assert torch.equal(preview_images(model, rows), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_every_tile_of_probe_score_shows_its_own_row(model, ksampler, probe, monkeypatch, shared):
    attached = AttachProbe.execute(model, probe, "step 2")[0]
    latent = {"samples": ksampler(attached, rows=3, steps=STEPS)}
    expected = [look.picture for look in ProbeScore.execute(latent, attached)[0].looks]
    assert len(set(expected)) == 3
    installed(monkeypatch, Remembering, shared)
    assert [look.picture for look in ProbeScore.execute(latent, attached)[0].looks] == expected


class Channel:
    """Of a board that nobody sees: keeps what is sent."""

    marks = NO_MARKS

    def __init__(self):
        self.sent = []

    def send(self, board):
        self.sent.append(board)

    def keep_picture(self, row, picture):
        pass


@torch.inference_mode()
def searched(model, probe, board):
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    prompts = random_conditioning(1), random_conditioning(2)
    found = [ksampler_candidate(seed, STEPS, 2.0, "euler", "simple", *prompts, latent) for seed in range(3)]
    watcher = SearchBoard(Channel(), model, probe) if board else Unwatched()
    policy = lambda steps: policy_named(ONE_CUT, steps, 3, 1, share=0.5)  # noqa: E731
    return seed_search(model, found, probe, policy, 1, SearchOptions(watcher=watcher)), watcher


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", [Remembering, Silent, Raising])
def test_every_tile_of_a_searchs_board_shows_its_own_candidate(model, probe, monkeypatch, kind, shared):
    """And a previewer that raises ends no candidate."""
    expected, before = searched(model, probe, board=True)
    shown = [small_picture(picture) for picture in preview_images(model, expected.features)]
    assert [look.picture for look in before.looks.values()] == shown and len(set(shown)) == 3
    installed(monkeypatch, kind, shared)
    result, board = searched(model, probe, board=True)
    assert [look.picture for look in board.looks.values()] == shown
    assert torch.equal(result.latents, expected.latents) and not any(each.failure for each in result.outcome.candidates)


def test_progress_shows_another_candidate_its_own_picture(model, rows, monkeypatch):
    """The leader changes; the new one's first picture is not the last one's."""
    sent = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id: sent.append(preview))
    installed(monkeypatch, Remembering, False)
    progress = RowProgress(model, 4)
    latents = [row.denoised[None] for row in rows]
    for shown, row in ((0, 0), (1, 1), (0, 2)):
        progress.shown = shown
        progress.callback(shown)(0, latents[row], latents[row], STEPS)
        progress.callback(2)(0, latents[0], latents[0], STEPS)  # who isn't shown isn't drawn
        progress.update(1, 1)
    stock = latent_preview.Latent2RGBPreviewer(
        model.model.latent_format.latent_rgb_factors, model.model.latent_format.latent_rgb_factors_bias
    )
    drawn = [stock.decode_latent_to_preview(latent) for latent in latents]
    assert [picture[1].tobytes() for picture in sent] == [picture.tobytes() for picture in drawn]


def test_progress_without_previews_goes_on(model, rows, monkeypatch):
    sent = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id: sent.append(preview))
    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.NoPreviews)
    progress = RowProgress(model, 4)
    progress.callback(0)(0, rows[0].denoised[None], rows[0].denoised[None], STEPS)
    progress.update(1, 1)
    assert sent == [None]
