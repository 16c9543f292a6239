"""How much of the sphere a camera sees."""

import numpy as np
from jaxtyping import Float64

from graticule.grids.camera import CameraGrid
from graticule.grids.healpix import HealpixGrid

BASE_PIXELS = 12


def base_pixels_seen(camera: CameraGrid, nside: int = 128) -> Float64[np.ndarray, " 12"]:
    """The share of each base pixel of the HEALPix sphere round a camera that its image shows, 0 to 1.

    Args:
        camera: with the rotation that says where its sphere has the pole.
        nside: of the cells that are counted; the error is about 1 / nside.
    """
    shown = camera.locate(*HealpixGrid(nside).lonlat()) >= 0
    return shown.reshape(BASE_PIXELS, nside * nside).mean(axis=1)
