import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graticule.data.sampler import (
    BatchSampler,
    EvalBatchSampler,
    augmentation_generator,
    balanced_positions,
    generator,
    positions,
)

sizes = st.integers(1, 40)


def walk(sampler):
    return [entry for batch in sampler for entry in batch]


def test_generators_are_keyed_by_every_number():
    places = [(1, 2, 3), (1, 2, 4), (1, 3, 2), (2, 1, 3), (0, 0, 0), (3, 2, 1)]
    draws = [augmentation_generator(seed, place).random(4) for seed in (0, 1) for place in places]
    draws += [generator(0, 1, 1, 2, 3).random(4)]
    assert len({tuple(draw) for draw in draws}) == len(draws)
    assert np.array_equal(
        augmentation_generator(5, (1, 2, 3)).random(9), augmentation_generator(5, (1, 2, 3)).random(9)
    )


@given(n=sizes, passes=st.integers(1, 3), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_each_pass_is_a_permutation(n, passes, seed, epoch):
    order = positions(seed, epoch, n, n * passes)
    for one in order.reshape(passes, n):
        assert sorted(one) == list(range(n))


@given(n=sizes, count=sizes, more=sizes)
def test_what_stands_at_a_position_does_not_depend_on_how_many_follow(n, count, more):
    assert np.array_equal(positions(7, 3, n, count + more)[:count], positions(7, 3, n, count))
    pixels = np.random.default_rng(n).integers(0, 5, (n, 3)) + 1
    assert np.array_equal(
        balanced_positions(7, 3, pixels, count + more)[:count], balanced_positions(7, 3, pixels, count)
    )


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(positions(seed, epoch, 30, 30)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@given(n=sizes, half=st.integers(1, 6), repeats=st.integers(1, 3), epoch=st.integers(0, 3))
def test_two_ranks_walk_the_order_of_one_rank_with_twice_the_batch(n, half, repeats, epoch):
    samples = np.arange(n, dtype=np.int64) * 10
    one = BatchSampler(samples, 2 * half, 3, repeats=repeats)
    two = [BatchSampler(samples, half, 3, repeats=repeats, rank=rank, world=2) for rank in (0, 1)]
    for sampler in (one, *two):
        sampler.set_epoch(epoch)
    assert len(one) == len(two[0]) == len(two[1])
    for batch, left, right in zip(one, *two, strict=True):
        assert batch == left + right
        assert len(left) == len(right) == half


@given(n=sizes, batch=st.integers(1, 6), repeats=st.integers(1, 3))
def test_an_epoch_has_every_sample_as_often_as_asked_and_full_batches(n, batch, repeats):
    entries = walk(BatchSampler(np.arange(n), batch, 3, repeats=repeats))
    assert len(entries) % batch == 0
    assert len(entries) - n * repeats < batch
    assert [position for _, position, _ in entries] == list(range(len(entries)))
    counts = np.bincount([index for _, _, index in entries], minlength=n)
    assert (counts >= repeats).all()


@given(start=st.integers(0, 7), epoch=st.integers(0, 3))
def test_only_the_first_iteration_after_set_position_is_shortened(start, epoch):
    sampler = BatchSampler(np.arange(16), 2, 3)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    sampler.set_position(epoch, start)
    sampler.set_epoch(epoch)  # as the trainer does; the position is kept
    assert len(sampler) == 8
    assert list(sampler) == whole[start:]
    assert list(sampler) == whole
    sampler.set_position(epoch, start)
    sampler.set_epoch(epoch + 1)
    assert len(list(sampler)) == 8


def test_classes_are_drawn_alike_and_samples_by_their_pixels():
    """Class 0 is in sample 0 alone, class 1 in samples 1 and 2 with 1 and 3 pixels in four, class 2 nowhere."""
    pixels = np.array([[1000, 0, 0], [0, 1, 0], [0, 3, 0]])
    drawn = np.bincount(balanced_positions(0, 0, pixels, 40_000), minlength=3) / 40_000
    assert drawn == pytest.approx([1 / 2, 1 / 8, 3 / 8], abs=0.01)


def test_half_balance_draws_classes_by_the_root_of_their_share():
    """Classes of 900 and 100 pixels: 3 to 1; without balance 9 to 1."""
    pixels = np.array([[900, 0], [0, 100]])
    for balance, share in [(0.0, 0.1), (0.5, 0.25), (1.0, 0.5)]:
        drawn = np.mean(balanced_positions(0, 0, pixels, 40_000, balance))
        assert drawn == pytest.approx(share, abs=0.01)


@given(seed=st.integers(0, 2**31), n=sizes)
def test_a_sample_without_any_pixel_of_a_class_is_never_drawn(seed, n):
    pixels = np.zeros((n, 4), dtype=np.int64)
    pixels[seed % n, 2] = 2**40
    assert set(balanced_positions(seed, 0, pixels, 50)) == {seed % n}


@given(n=sizes, batch=st.integers(1, 5), world=st.integers(1, 4))
def test_evaluation_sees_each_sample_once_and_ranks_have_equally_many_batches(n, batch, world):
    samples = np.arange(n, dtype=np.int64) * 3
    ranks = [list(EvalBatchSampler(samples, batch, rank=rank, world=world)) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {-(-n // (batch * world))}
    assert all(0 < len(one) <= batch for batches in ranks for one in batches)
    seen = [index for batches in ranks for one in batches for _, _, index in one if index >= 0]
    assert sorted(seen) == list(samples)
    in_turn = [index for step in zip(*ranks, strict=True) for one in step for _, _, index in one if index >= 0]
    assert in_turn == list(samples)
