"""A few windows of an evaluation, kept as arrays that a report can show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from graticule.inference.layers import labels_of, layers_of
from graticule.inference.pictures import display_bands, to_rgb
from graticule.schema import IGNORE, INDEX, SEEN, TARGETS, VALID, Band, Target, X


class Examples:
    """Keeps the windows with the most different labels, spread over regions, however well they were predicted.

    Of samples with one label each it keeps some of every class.

    Args:
        count: how many to keep.
        bands: of x.
        targets: to keep truth and prediction of.
    """

    def __init__(self, count: int, bands: Sequence[Band], targets: Sequence[Target]) -> None:
        self.count, self.targets, self.display = count, tuple(targets), display_bands(bands)
        self.kept: dict[str, list[tuple[float, int, dict[str, np.ndarray]]]] = {}

    def add(self, batch: Mapping[str, Any], predictions: Mapping[str, Tensor], regions: Mapping[int, str]) -> None:
        """Look at a batch of squares; `regions` names that of each row of the store."""
        if not self.count or not self.targets:
            return
        for place, row in enumerate(batch[INDEX].tolist()):
            if row < 0:
                continue
            worth = self._worth(batch, place)
            own = self.kept.setdefault(self._kind(batch, place, regions[row]), [])
            if len(own) == self.count and worth <= own[-1][0]:
                continue
            own.append((worth, row, self._window(batch, predictions, place)))
            own.sort(key=lambda kept: (-kept[0], kept[1]))
            del own[self.count :]

    def _kind(self, batch: Mapping[str, Any], place: int, region: str) -> str:
        """Of what kind a window is: as many of each are kept."""
        target = self.targets[0]
        return f"class {int(batch[TARGETS][target.name][place]):03d}" if target.is_of_sample else region

    def _worth(self, batch: Mapping[str, Any], place: int) -> float:
        """Number of different labels times the known share; of values their range counts as one label."""
        target = self.targets[0]
        valid = batch[VALID][target.name][place]
        known = batch[TARGETS][target.name][place][valid]
        different = len(known.unique()) if target.is_categorical else float(len(known) > 0)
        return float(different * valid.float().mean())

    def _window(self, batch: Mapping[str, Any], predictions: Mapping[str, Tensor], place: int) -> dict[str, np.ndarray]:
        seen = batch[SEEN][place].numpy()
        window = {"x": batch[X][place].numpy()[self.display].copy(), "seen": seen.copy()}
        for target in self.targets:
            truth, valid = batch[TARGETS][target.name][place].numpy(), batch[VALID][target.name][place].numpy()
            unknown = np.uint8(IGNORE) if target.is_categorical else np.float32(np.nan)
            window[f"{target.name}/truth"] = np.where(valid, truth.astype(unknown.dtype), unknown)
            field = predictions[target.name][place].float().cpu().numpy()
            if target.is_of_sample:
                window[f"{target.name}/prediction"] = labels_of(field[:, None])[0]
                window[f"{target.name}/probability"] = field.max() if len(field) > 1 else max(field[0], 1 - field[0])
                continue
            window[f"{target.name}/prediction"] = layers_of(target)[0].encode(field, seen)[0]
        return window

    def arrays(
        self, names: Mapping[int, str], places: Mapping[int, tuple[str, str]] | None = None
    ) -> dict[str, np.ndarray]:
        """`rgb` [n, h, w, 3], `sample_id` [n], `<t>/truth` and `<t>/prediction` [n, h, w]; one of each region first.

        Of a target known per sample `<t>/truth`, `<t>/prediction` and `<t>/probability` are [n].

        Args:
            names: of the rows.
            places: of photographs, for each row its grid and its camera as JSON: the arrays `grid` and `camera`.
        """
        ranked = [
            (rank, -worth, row, window) for own in self.kept.values() for rank, (worth, row, window) in enumerate(own)
        ]
        chosen = sorted(ranked, key=lambda item: item[:3])[: self.count]
        if not chosen:
            return {}
        windows = [window for *_, window in chosen]
        stacked = {key: np.stack([window[key] for window in windows]) for key in windows[0]}
        rgb = to_rgb(stacked.pop("x"), stacked.pop("seen"))
        rows = [row for _, _, row, _ in chosen]
        if places is not None:
            for column, key in enumerate(("grid", "camera")):
                stacked[key] = np.array([places[row][column] for row in rows])
        return {"rgb": rgb, "sample_id": np.array([names[row] for row in rows]), **stacked}
