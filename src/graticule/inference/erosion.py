"""Erosion of a mask by a disc, 64 pixels at a time: the pixels of a row are the bits of whole numbers."""

import numpy as np
from jaxtyping import Bool, UInt64

_ALL = np.uint64(2**64 - 1)


def eroded(mask: Bool[np.ndarray, "rows width"], radius: int, *, wraps: bool = False) -> Bool[np.ndarray, "rows width"]:
    """The pixels from which no pixel that is False lies within a distance of `radius` pixels.

    What lies outside of the array counts as True, so that the edge of a scene is not eroded.

    Args:
        mask: True where there is something.
        radius: of the disc: the offsets (dy, dx) with dy² + dx² ≤ radius².
        wraps: the last column borders the first.
    """
    if radius < 1 or mask.all():
        return mask.copy()
    rows, width = mask.shape
    around = min(radius, width) if wraps else 0
    if around:
        mask = np.concatenate([mask[:, -around:], mask, mask[:, :around]], axis=1)
    words = _packed(mask)
    result = words.copy()
    narrow, half = words, 0
    # From the top of the disc, where it is narrow, to its middle: each row of the disc extends the one before.
    for dy in range(min(radius, rows), -1, -1):
        wanted = int(np.sqrt(radius**2 - dy**2))
        for by in range(half + 1, wanted + 1):
            narrow = narrow & _shifted(words, by) & _shifted(words, -by)
        half = wanted
        result[: rows - dy] &= narrow[dy:]
        result[dy:] &= narrow[: rows - dy]
    bits = np.unpackbits(result.view(np.uint8), axis=1, bitorder="little", count=mask.shape[1]).view(np.bool_)
    return bits[:, around : around + width]


def _packed(mask: np.ndarray) -> UInt64[np.ndarray, "rows words"]:
    """Bit k of word n is pixel 64 n + k; the bits beyond the last pixel are set."""
    words = -(-mask.shape[1] // 64)
    packed = np.full((len(mask), words * 8), 255, np.uint8)
    bits = np.packbits(mask, axis=1, bitorder="little")
    packed[:, : bits.shape[1]] = bits
    if mask.shape[1] % 8:
        packed[:, bits.shape[1] - 1] |= np.uint8(255 << mask.shape[1] % 8 & 255)
    return packed.view("<u8")


def _shifted(words: np.ndarray, by: int) -> np.ndarray:
    """What lies `by` pixels to the right of each pixel; True beyond the ends."""
    whole, part = divmod(by, 64)
    low = _moved(words, whole)
    if part:
        low = (low >> np.uint64(part)) | (_moved(words, whole + 1) << np.uint64(64 - part))
    return low


def _moved(words: np.ndarray, by: int) -> np.ndarray:
    if by == 0:
        return words
    moved = np.full_like(words, _ALL)
    if abs(by) < words.shape[1]:
        moved[:, max(0, -by) : words.shape[1] - max(0, by)] = words[:, max(0, by) : words.shape[1] + min(0, by)]
    return moved
