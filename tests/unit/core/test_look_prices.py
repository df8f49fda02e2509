"""Prices of looks: constants, in the unit of a policy's budget."""

import pytest
from diffusion_probe.engine.core.look_prices import (
    DECODERS,
    EVALUATIONS,
    FAST,
    MEGAPIXEL,
    REWARDS,
    VAE,
    look_price,
    look_tflop,
)


def price(family: str, decoder: str, pixels: int = MEGAPIXEL, reward: str = "ImageReward") -> float:
    return look_price(family, pixels, look_tflop(decoder, pixels, REWARDS[reward]))


def test_a_look_costs_what_is_known_of_cards_in_evaluations():
    assert price("FLUX", VAE) == pytest.approx(0.4, abs=0.02)
    assert price("SDXL", VAE) == pytest.approx(2.0, abs=0.05)
    assert 0.02 < price("FLUX", FAST) < 0.04 and 0.1 < price("SDXL", FAST) < 0.15


def test_attention_makes_looks_at_large_images_cheaper_in_evaluations():
    assert price("FLUX", VAE, 4 * MEGAPIXEL) < price("FLUX", VAE) < price("FLUX", VAE, MEGAPIXEL // 2)


def test_a_family_that_is_not_in_the_table_has_a_price_between_the_others():
    prices = [price(family, VAE) for family in EVALUATIONS]
    assert min(prices) < price("", VAE) < max(prices)


def test_a_mean_of_rewards_costs_as_much_as_all_of_them():
    one, three = (look_tflop(FAST, MEGAPIXEL, reward) for reward in (0.1, 0.3))
    assert three - one == pytest.approx(0.2)
    assert set(DECODERS) == {VAE, FAST}
