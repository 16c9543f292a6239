"""What augmentation does to values, against arithmetic on paper, scipy, and features of turned heights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from graticule.data.augment import Augment, turn
from graticule.data.datamodule import DataModule
from graticule.data.features.terrain import aspect
from graticule.data.light import direction_pairs, relight
from graticule.data.loader import BatchReader
from graticule.data.splits import assign
from graticule.errors import ConfigError
from graticule.grids.windows import morton, morton_inverse
from graticule.inference.symmetry import d4_mean
from graticule.schema import DRAWS, SEEN, Band, X
from worlds import healpix_world, raster_world

BANDS = (Band("red", scale=2.0, offset=-10.0), Band("height", kind="elevation"))


def drawn(count=1, **told):
    still = {
        "element": 0,
        "brightness": 1.0,
        "contrast": 1.0,
        "saturation": 1.0,
        "blur": 1,
        "noise": 0.0,
        "levels": 0,
        "seed": 7,
    }
    return {name: np.array([value] * count) for name, value in (still | told).items()}


def sample(seed=0, count=1, bands=2, shape=(6, 6)):
    x = np.random.default_rng(seed).uniform(10, 100, (count, bands, *shape)).astype(np.float32)
    return torch.from_numpy(x), torch.ones(count, *shape, dtype=torch.bool)


def test_light_changes_optical_bands_in_physical_values():
    """physical = 2 stored - 10; what is not seen does not count, and NaN there does no harm."""
    x, seen = sample()
    seen[0, 0], x[0, 0, 0] = False, np.nan
    changed = relight(x, seen, BANDS, drawn(brightness=1.1, contrast=0.7))
    physical = 2 * x[0, 0, 1:].double() - 10
    expected = 1.1 * (0.7 * (physical - physical.mean()) + physical.mean())
    assert torch.allclose(2 * changed[0, 0, 1:].double() - 10, expected, rtol=1e-5)
    assert torch.equal(changed[0, 1], x[0, 1]), "heights keep their values"


def test_no_draw_and_nothing_seen_change_nothing():
    x, seen = sample(count=2)
    assert torch.allclose(relight(x, seen, BANDS, drawn(2)), x, rtol=1e-6)
    strong = drawn(2, brightness=1.5, contrast=0.5, blur=3, noise=0.1, levels=4)
    assert torch.isfinite(relight(x, torch.zeros_like(seen), BANDS, strong)).all()


@pytest.mark.parametrize("side", [3, 5])
def test_blur_is_the_mean_over_what_is_seen(side):
    x, seen = sample(count=2, shape=(9, 11))
    seen[1, 3:5, 2:9] = False
    changed = relight(x, seen, BANDS, drawn(2) | {"blur": np.array([1, side])})
    assert torch.allclose(changed[0], x[0])
    there, values = seen[1].double().numpy(), x[1, 0].double().numpy()
    kernel = np.ones((side, side))
    expected = ndimage.convolve(values * there, kernel, mode="constant") / ndimage.convolve(
        there, kernel, mode="constant"
    )
    assert np.allclose(changed[1, 0].numpy()[seen[1]], expected[seen[1]], rtol=1e-5)
    assert torch.equal(changed[1, 1], x[1, 1])


def test_cells_are_blurred_as_their_square():
    x, seen = sample(shape=(8, 8))
    order = torch.from_numpy(morton_inverse(8))
    cells = relight(x.flatten(2)[..., order], seen.flatten(1)[..., order], BANDS, drawn(blur=3))
    square = cells[..., torch.from_numpy(morton(8).reshape(-1))].unflatten(-1, (8, 8))
    assert torch.allclose(square, relight(x, seen, BANDS, drawn(blur=3)), rtol=1e-5)


def test_noise_is_another_factor_for_each_value_and_a_function_of_the_seed():
    x, seen = sample(count=3, shape=(64, 64))
    draws = drawn(3, noise=0.1) | {"seed": np.array([5, 6, 5])}
    factors = (2 * relight(x, seen, BANDS, draws)[:, 0] - 10) / (2 * x[:, 0] - 10)
    assert factors.min() > 0.9 - 1e-4
    assert factors.max() < 1.1 + 1e-4
    assert factors.std() == pytest.approx(0.2 / 12**0.5, rel=0.03)
    assert torch.allclose(factors[0], factors[2], atol=1e-4)
    assert not torch.allclose(factors[0], factors[1], atol=1e-2)


def test_levels_are_equal_steps_over_the_valid_range():
    bands = (Band("red", valid_range=(0.0, 100.0)), Band("grey"))
    x, seen = sample(bands=2, shape=(40, 40))
    changed = relight(x, seen, bands, drawn(levels=8))
    assert set(changed[0, 0].unique().tolist()) == {12.5 * k + 6.25 for k in range(8)}
    assert (changed - x).abs().max() <= 6.2501
    assert len(changed[0, 1].unique()) <= 9, "without a range: that of the sample"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), element=st.integers(0, 7))
def test_the_turned_aspect_is_the_aspect_of_the_turned_heights(seed, element):
    """Stored as integers with a scale, beside a band that is no direction; north is up."""
    bands = (
        Band("aspect_cos", kind="direction", scale=0.0001, offset=-0.5),
        Band("slope", kind="angle"),
        Band("aspect_sin", kind="direction", scale=0.0001),
    )
    dem = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 50, (12, 12)), 2).astype(np.float32)

    def stored(heights):
        sine, cosine = aspect(heights, (3.0, 3.0), 0.0)
        return np.rint(np.stack([(cosine + 0.5) / 0.0001, heights * 100, sine / 0.0001])).astype(np.int32)

    turned = torch.from_numpy(np.ascontiguousarray(turn(stored(dem), element)))[None]
    found = relight(turned, torch.ones(1, 12, 12, dtype=torch.bool), bands, drawn(element=element))
    expected = stored(np.ascontiguousarray(turn(dem, element)))
    assert np.abs(found[0].numpy() - expected).max() <= 40  # of 10 000


def test_the_mean_over_turns_turns_directions_too():
    """A net that answers with its aspect says the same of all turns only if the aspect is turned with the picture."""
    bands = (Band("aspect_sin", kind="direction"), Band("aspect_cos", kind="direction"), Band("z", kind="elevation"))
    dem = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 50, (12, 12)), 2).astype(np.float32)
    x = torch.from_numpy(np.stack([*aspect(dem, (3.0, 3.0), 0.0), dem]))[None]
    seen = torch.ones(1, 12, 12, dtype=torch.bool)
    faults = []

    def predict(x, seen):
        expected = np.stack(aspect(x[0, 2].numpy().copy(), (3.0, 3.0), 0.0))
        faults.append(np.abs(x[0, :2].numpy() - expected).max())
        return {"height": x[:, 2]}

    answer = d4_mean(predict, bands)(x, seen)["height"]
    assert len(faults) == 8
    assert max(faults) < 1e-3
    assert torch.allclose(answer, x[:, 2], atol=1e-4)
    with pytest.raises(ConfigError, match="leave out flips and turns"):
        d4_mean(predict, bands[:1])


def test_a_direction_has_two_parts():
    wind = (Band("wind_north", kind="direction"), Band("red"), Band("wind_east", kind="direction"))
    assert direction_pairs(wind) == [(2, 0)]
    with pytest.raises(ConfigError, match="band 'wind_north' is one component of a direction and cannot be turned"):
        direction_pairs(wind[:2])


def test_directions_are_turned_in_training_and_refused_on_the_sphere(tmp_path):
    bands = [Band("wind_east", kind="direction"), Band("wind_north", kind="direction")]
    store = raster_world(tmp_path / "store", degrees=30.0, bands=bands, dtype=np.int16, classes=2)
    assert BatchReader(store, augment=Augment(d4=False, crop=4)).redraws is False
    batch = BatchReader(store, augment=Augment(), seed=1)([(0, place, 0) for place in range(8)])
    assert len(set(batch[DRAWS]["element"].tolist())) > 2
    lengths = batch[X].float().norm(dim=1)
    changed = relight(batch[X], batch[SEEN], bands, batch[DRAWS])
    assert torch.allclose(changed.norm(dim=1), lengths, rtol=1e-5)
    sphere = healpix_world(tmp_path / "sphere", bands=bands, dtype=np.int16)
    with pytest.raises(ConfigError, match="directions cannot be turned on HEALPix"):
        BatchReader(sphere, augment=Augment())
    assert BatchReader(sphere, augment=Augment(d4=False)).redraws is False


def test_a_trainer_gets_batches_that_are_done(tmp_path):
    """After the transfer nothing is left to do; evaluation batches pass through."""
    store = raster_world(tmp_path / "store", degrees=15.0, per_parent=1)
    augment = Augment(brightness=0.5, blur=3, noise=0.1, posterize=4)
    data = DataModule(store, assign(store, method="random"), batch_size=4, augment=augment, seed=3)
    raw = next(iter(data.train_dataloader()))
    assert raw[X].dtype == torch.uint8
    done = data.on_after_batch_transfer(raw, 0)
    assert DRAWS not in done
    assert torch.equal(done[X], relight(raw[X], raw[SEEN], store.bands, raw[DRAWS]))
    plain = next(iter(data.val_dataloader()))
    assert data.on_after_batch_transfer(plain, 0) is plain
