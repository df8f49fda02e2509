"""What is seen in an image, against a plain version that takes every pixel and every colour by itself."""

import numpy as np
import pytest
from diffusion_probe.testbed import render, scenes, segment
from scipy import ndimage

TEMPLATE = segment.TEMPLATE_PX


def _plain_colours(image):
    smooth = ndimage.gaussian_filter(np.nan_to_num(image.astype(np.float32)), (0.7, 0.7, 0)).clip(0, 1)
    palette = segment._hue(np.array(list(scenes.COLOURS.values())))
    found = np.full(image.shape[:2], -1)
    for place in np.ndindex(found.shape):
        pixel = smooth[place]
        if pixel.max() - pixel.min() > segment.CHROMA_MIN:
            distance = np.abs(np.angle(np.exp(1j * (segment._hue(pixel) - palette))))
            found[place] = distance.argmin()
    return found


def _plain_blobs(image):
    """Centre, side, area and overlaps of every blob, from scipy's own functions on the whole image."""
    colours, scale = _plain_colours(image), 128 / len(image)
    found = []
    for index, colour in enumerate(scenes.COLOURS):
        labels, count = ndimage.label(ndimage.binary_opening(colours == index, np.ones((3, 3))))
        for label in range(1, count + 1):
            area = (labels == label).sum() * scale**2
            if area < segment.AREA_MIN_PX:
                continue
            mask = ndimage.binary_fill_holes(labels == label)
            row, column = ndimage.center_of_mass(mask)
            rows, columns = np.nonzero(mask)
            side = max(np.ptp(rows), np.ptp(columns)) + 1
            middle = [(places.min() + places.max() + 1) / 2 for places in (rows, columns)]
            overlaps = _plain_overlaps(mask, middle, side)
            found.append((colour, (column + 0.5) * scale, (row + 0.5) * scale, side * scale, area, overlaps))
    return sorted(found, key=lambda blob: -blob[4])


def _plain_overlaps(mask, middle, side):
    """Each point of a square around the blob is asked: are you in the mask, are you in the shape?"""
    points = np.moveaxis(np.mgrid[:TEMPLATE, :TEMPLATE], 0, -1).reshape(-1, 2) + 0.5
    places = np.floor(points / TEMPLATE * side - side / 2 + middle).astype(int)
    seen = np.array([0 <= y < len(mask) and 0 <= x < len(mask[0]) and bool(mask[y, x]) for y, x in places])
    found = {}
    for shape in scenes.SHAPES:
        y, x = points.T - TEMPLATE / 2
        wanted = render.signed_distance(shape, x, y, TEMPLATE / 2 / (0.9 if shape == "square" else 1)) < 0
        found[shape] = (seen & wanted).sum() / (seen | wanted).sum()
    return found


def _scene(size=128):
    image = render.render(scenes.sample_scenes(1, seed=5, object_count=3)[0], 7)
    return image[:: 128 // size, :: 128 // size]


def _noisy(seed, shape):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random((*shape, 3)), (4, 4, 0))
    return (0.5 + (smooth - smooth.mean()) / smooth.std() * 0.3).clip(0, 1)


IMAGES = {
    "a true scene": _scene(),
    "a small one": _scene(64),
    "blurred": ndimage.gaussian_filter(_scene(), (3, 3, 0)),
    "smooth noise": _noisy(0, (96, 96)),
    "noise wider than high": _noisy(1, (64, 96)),
    "blobs at the rim": np.roll(_scene(), (40, 30), (0, 1)),
    "with NaN": np.where(np.random.default_rng(2).random((128, 128, 1)) < 0.001, np.nan, _scene()),
    "all of one colour": np.broadcast_to(np.array([0.9, 0.1, 0.1], np.float32), (32, 32, 3)),
    "two pixels wide": _scene()[:, 40:42],
    "blank": np.full((32, 32, 3), 0.9),
}


@pytest.mark.parametrize("name", IMAGES)
def test_blobs_are_those_of_the_plain_version(name):
    found, plain = segment.find_blobs(IMAGES[name]), _plain_blobs(IMAGES[name])
    assert [(b.colour, b.side, b.area, b.overlap) for b in found] == [(c, *rest) for c, _, _, *rest in plain]
    np.testing.assert_allclose([(b.x, b.y) for b in found], [(x, y) for _, x, y, *_ in plain], rtol=1e-12)


def test_the_images_compared_show_many_blobs():
    assert sum(len(segment.find_blobs(image)) for image in IMAGES.values()) > 30


def test_a_hole_is_filled_and_a_bay_is_not():
    ring = np.pad(np.pad(np.zeros((3, 3), bool), 2, constant_values=True), 1)
    bay = ring.copy()
    bay[3, :] &= np.arange(9) < 4
    assert np.array_equal(segment.filled(ring), ndimage.binary_fill_holes(ring))
    assert segment.filled(ring).sum() == 49
    assert np.array_equal(segment.filled(bay), bay)
