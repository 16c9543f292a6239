"""Planar nets on the HEALPix sphere."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import GridError
from graticule.grids.windows import morton, morton_inverse


class OnHealpix(nn.Module):
    """Runs a planar net on nested windows: 4^k children of one parent are a square in Morton order.

    Every window is laid out as its square of 2^k x 2^k pixels, goes through the net, and comes back as cells. So the
    same weights serve rasters and the sphere. The net sees no further than its window; whoever predicts whole spheres
    gives it windows with a halo and crops (that is how seams are avoided).

    Args:
        net: [b, c, h, w] -> [b, k, h, w], or [b, k] of one that answers once for a whole image.
        squares: how many base pixels a sample covers; each is a square for itself, as if it were a sample.
    """

    def __init__(self, net: nn.Module, squares: int = 1) -> None:
        super().__init__()
        self.net, self.squares = net, squares

    def forward(self, x: Float[Tensor, "b c cells"]) -> Float[Tensor, "b k *cells"]:
        """Map [b, c, squares * 4^k] to [b, out_channels, squares * 4^k]; or to [b, out_channels], mean of the squares.

        Raises:
            GridError: if the number of cells of a square is not a power of 4.
        """
        cells, rest = divmod(x.shape[-1], self.squares)
        side = 1 << (cells.bit_length() - 1) // 2
        if side * side != cells or rest:
            raise GridError(f"a window has {x.shape[-1]} cells; a planar net needs 4^k nested cells of one parent.")
        to_square, to_cells = _orders(side, x.device)
        one_by_one = x.unflatten(-1, (self.squares, cells)).transpose(1, 2).flatten(0, 1)
        y: Tensor = self.net(one_by_one[..., to_square].unflatten(-1, (side, side)))
        if y.ndim == 2:
            return y.unflatten(0, (-1, self.squares)).mean(1)
        return y.flatten(-2)[..., to_cells].unflatten(0, (-1, self.squares)).transpose(1, 2).flatten(-2)


def as_cells(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c cells"]:
    """A square image as the nested cells of one parent.

    Raises:
        GridError: if it is no square of 2^k pixels.
    """
    h, w = x.shape[-2:]
    if h != w or h & (h - 1):
        raise GridError(f"an image has {h} x {w} pixels; a net of nested cells needs a square of 2^k (16, 32, 64 ...).")
    return x.flatten(-2)[..., _orders(h, x.device)[1]]


@lru_cache(maxsize=16)
def _orders(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The cell at each pixel of the square, and the pixel of each cell."""
    return torch.tensor(morton(side).ravel(), device=device), torch.tensor(morton_inverse(side), device=device)
