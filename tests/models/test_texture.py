"""Local means and deviations, against a plain reading of their definition."""

import numpy as np
import pytest
import torch

from graticule.errors import ConfigError
from graticule.models.texture import TextureNet


def test_statistics_are_those_of_the_pixels_that_exist_in_each_square():
    x = torch.randn(1, 2, 12, 10, generator=torch.Generator().manual_seed(0))
    x[:, :, :4] = 0  # nothing was seen there
    found = TextureNet(2, 1, sides=(5,), channels=4).texture(x)[0].numpy()
    for row, col in [(4, 0), (6, 5), (11, 9), (3, 2)]:
        square = x[0, :, max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3].flatten(1).numpy()
        square = square[:, (square != 0).any(0)]
        np.testing.assert_allclose(found[2:4, row, col], square.mean(1), atol=1e-5)
        np.testing.assert_allclose(np.exp(found[4:6, row, col] - 2), np.hypot(square.std(1), 0.02), rtol=1e-3)


def test_it_sees_no_further_than_half_the_largest_square():
    net = TextureNet(1, 2, sides=(3, 9), channels=8).eval()
    x = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[..., 20, 20] += 5
    moved = (net(x) != net(changed)).any(1)[0].nonzero()
    assert (moved - 20).abs().max() == 4


@pytest.mark.parametrize("options", [{"sides": (4,)}, {"sides": ()}, {"layers": 0}])
def test_what_cannot_be_built_says_what_can(options):
    with pytest.raises(ConfigError, match=r"give odd sides of 3 or more, such as \[3,9,27\]"):
        TextureNet(3, 2, **options)
