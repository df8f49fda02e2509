"""Attention focus on drawn maps: better maps score higher, and bad input is refused."""

import pytest
import torch
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.probe_models import signatures
from diffusion_probe.probe_models.focus import WEIGHTS, AttentionFocus, signature_values, token_weights

TOKENS = 12


def blob(row: float, column: float, width: float = 1.0, high: int = 8, wide: int = 8) -> torch.Tensor:
    rows, columns = torch.arange(high)[:, None], torch.arange(wide)[None]
    return torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))


def attention(maps: list[torch.Tensor], blocks: int = 3) -> torch.Tensor:
    """The same maps in every block, as softmax weights that leave half to the image's own keys."""
    stacked = torch.stack(maps)
    return (0.5 * stacked / stacked.sum(0).max()).expand(blocks, *stacked.shape).half()


def row(maps: torch.Tensor | None) -> Features:
    return Features("flux", "20%", 5, 0.8, 0.2, attention=maps)


def score(*maps: torch.Tensor) -> list[float]:
    return AttentionFocus().score([row(one) for one in maps]).tolist()


def weights(maps: torch.Tensor) -> torch.Tensor:
    return token_weights(maps, signatures.shares(maps))


def two_phrases(width: float = 1.0) -> list[torch.Tensor]:
    """Six tokens of an object at the top left, six of one at the bottom right."""
    return [blob(1.5, 1.5, width)] * 6 + [blob(5.5, 5.5, width)] * 6


def test_it_is_an_unskilled_probe_until_it_is_measured():
    probe = AttentionFocus()
    assert isinstance(probe, Probe) and probe.needs == {"attention"} and not probe.skilled
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_sharp_maps_beat_diffuse_ones():
    sharp, blurred, flat = score(
        attention(two_phrases(1.0)), attention(two_phrases(2.5)), attention([torch.ones(8, 8)] * TOKENS)
    )
    assert sharp > blurred > flat


def test_one_diffuse_phrase_lowers_the_score():
    whole = two_phrases()
    assert score(attention(whole))[0] > score(attention(whole[:6] + [torch.full((8, 8), 0.1)] * 6))[0]


def test_maps_that_collapse_on_one_place_score_lower_than_separate_ones():
    assert score(attention(two_phrases()))[0] > score(attention([blob(3.5, 3.5)] * TOKENS))[0]


def test_maps_that_fragment_score_lower_than_whole_ones():
    pieces = [sum(blob(r, c, 0.5) for r, c in spots) for spots in (((0, 0), (7, 7), (0, 4)), ((7, 0), (0, 7), (4, 3)))]
    assert score(attention(two_phrases()))[0] > score(attention([pieces[0]] * 6 + [pieces[1]] * 6))[0]


def test_blocks_that_look_elsewhere_score_lower():
    same = attention(two_phrases())
    moved = torch.stack([same[0], same[1].roll(3, dims=-1), same[2].roll(3, dims=-2)])
    assert signature_values(same)["agreement"] > signature_values(moved)["agreement"]


def test_every_part_lies_between_zero_and_one():
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 1, 1, 1), (2, 5, 3, 7), (10, 77, 16, 9)):
        values = signature_values(torch.rand(shape, generator=generator).half() / shape[1])
        assert set(values) == set(WEIGHTS) and all(0 <= value <= 1 for value in values.values())


def test_a_token_that_soaks_up_attention_weighs_no_more_than_the_average():
    maps = torch.full((2, 10, 4, 4), 0.01)
    maps[:, 0] = 0.9
    weight = weights(maps)
    assert weight.sum() == pytest.approx(1) and weight[0] < 0.6
    assert weights(torch.zeros(2, 4, 4, 4)).tolist() == [0.25] * 4


def test_padding_that_looks_alike_weighs_as_one_token_however_long_it_is():
    words, padding = two_phrases()[4:8], 0.5 * blob(0, 7) + 0.1
    few, many = (weights(attention([*words, *[padding] * count])) for count in (4, 40))
    assert float(few[4:].sum()) < 0.5 and float(many[4:].sum()) < 0.5


def score_words(maps: torch.Tensor, *positions: tuple[int, ...]) -> float:
    words = tuple(Word(f"word {number}", some) for number, some in enumerate(positions))
    return float(AttentionFocus().score([Features("flux", "20%", 5, 0.8, 0.2, attention=maps, words=words)])[0])


def test_with_words_other_positions_have_no_signatures_of_their_own():
    sharp, flat = two_phrases(), torch.full((8, 8), 0.5)
    maps = attention([*sharp, *[flat] * 12])
    known = score_words(maps, *((number,) for number in range(12)))
    assert known > score(maps)[0] + 0.05
    blotted = attention([*sharp, *[flat + 1e-3 * blob(0, 7), flat - 1e-3 * blob(0, 7)] * 6])
    assert score_words(blotted, *((number,) for number in range(12))) == pytest.approx(known, abs=1e-2)


def test_with_words_the_pieces_of_a_word_count_as_one():
    whole = attention(two_phrases()).float()
    pieces = torch.cat([whole[:, :1] / 4, whole[:, :1] * 3 / 4, whole[:, 1:]], dim=1)
    expected = score_words(whole, *((number,) for number in range(12)))
    assert score_words(pieces, (0, 1), *((number,) for number in range(2, 13))) == pytest.approx(expected, abs=1e-6)


def test_what_all_tokens_have_in_common_does_not_count():
    plain = attention(two_phrases()).float()
    listening = 0.2 + 0.8 * blob(2, 6, 2.0)  # how much each place listens to the text at all
    parts, same = signature_values(plain), signature_values(plain * listening)
    measured = [name for name in WEIGHTS if name != "agreement"]
    assert [same[name] for name in measured] == pytest.approx([parts[name] for name in measured], abs=0.05)


def test_rows_may_differ_in_tokens_blocks_and_grid_and_do_not_influence_each_other():
    first = attention(two_phrases())
    second = attention([blob(2, 8, high=5, wide=12)] * 77, blocks=10)
    assert score(first, second) == [score(first)[0], score(second)[0]]


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (None, "row 1.*Attach this probe"),
        (torch.zeros(3, 8, 8), "blocks, tokens, height, width"),
        (torch.zeros(0, 4, 8, 8), "at least one"),
        (torch.full((1, 4, 8, 8), float("nan")), "row 1 holds NaN"),
    ],
)
def test_attention_that_cannot_be_scored_is_an_error_that_says_why(maps, message):
    with pytest.raises(ValueError, match=message):
        score_rows = [row(attention(two_phrases())), row(maps)]
        AttentionFocus().score(score_rows)
