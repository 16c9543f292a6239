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
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "b c cells"]) -> Float[Tensor, "b k cells"]:
        """Map [b, c, 4^k] to [b, out_channels, 4^k].

        Raises:
            GridError: if the number of cells is not a power of 4.
        """
        cells = x.shape[-1]
        side = 1 << (cells.bit_length() - 1) // 2
        if side * side != cells:
            raise GridError(f"a window has {cells} cells; a planar net needs 4^k nested cells of one parent.")
        to_square, to_cells = _orders(side, x.device)
        y: Tensor = self.net(x[..., to_square].view(*x.shape[:-1], side, side))
        return y.flatten(-2)[..., to_cells]


@lru_cache(maxsize=16)
def _orders(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The cell at each pixel of the square, and the pixel of each cell."""
    return torch.tensor(morton(side).ravel(), device=device), torch.tensor(morton_inverse(side), device=device)
