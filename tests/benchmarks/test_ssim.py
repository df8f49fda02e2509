"""Structural similarity: closed forms, and the definition written out at one window."""

import numpy as np
import pytest
import torch

from benchmarks.lib.ssim import ssim


def test_equal_images_have_one_and_flat_ones_the_closed_form():
    torch.manual_seed(0)
    images = torch.rand(2, 16, 20, 3)
    torch.testing.assert_close(ssim(images, images), torch.ones(2))
    a, b = 0.2, 0.7
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert float(ssim(torch.full((1, 12, 12, 1), a), torch.full((1, 12, 12, 1), b))) == pytest.approx(
        expected, rel=1e-5
    )


def test_one_window_is_the_definition_with_gaussian_weights():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 11, 11))
    grid = np.arange(11) - 5
    weights = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * 1.5**2))
    weights /= weights.sum()
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    found = ssim(*(torch.tensor(each)[None, :, :, None] for each in (x, y)))
    assert float(found) == pytest.approx(expected, rel=1e-6)
