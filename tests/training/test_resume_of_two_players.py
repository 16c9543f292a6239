"""Killed with kill -9 and resumed, a training of two players leaves the same bits as one never killed."""

import signal

import duel
import pytest
from test_exact_resume import Kill, assert_same_run, multiprocessing

from graticule.errors import ConfigError
from graticule.runs import Run
from graticule.training.checkpoints import read_checkpoint
from graticule.training.fit import fit


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return duel.worlds(tmp_path_factory.mktemp("worlds"))


def killed(*arguments, **options):
    process = multiprocessing.get_context("fork").Process(target=duel.train, args=arguments, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize(
    ("kind", "extra", "hook", "times"),
    [
        ("masker", False, "on_train_batch_start", 4),
        ("masker", True, "on_train_batch_end", 6),  # in the second epoch, with a term that begins there
        ("painter", True, "on_train_batch_start", 4),
        ("painter", False, "on_train_epoch_start", 2),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(stores, tmp_path, kind, extra, hook, times):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    duel.train(kind, stores, whole, extra=extra)
    assert killed(kind, stores, broken, further=[Kill(hook, times)], workers=1, extra=extra) == -signal.SIGKILL
    duel.train(kind, stores, broken, resume=True, extra=extra)
    assert_same_run(broken, whole)


def test_a_batch_is_one_step_whoever_has_a_turn(stores, tmp_path):
    outcome = duel.train("masker", stores, tmp_path, extra=True)
    batches = len(duel.masker_data(stores).train_loader)
    assert outcome.steps == 2 * batches
    saved = read_checkpoint(Run(tmp_path).last_checkpoint)
    steps = {int(state["step"]) for optimizer in saved["optimizer_states"] for state in optimizer["state"].values()}
    # The discriminators of both targets and the net: a step ahead and one from where it was, for each batch.
    assert steps == {4 * batches}
    assert any(name.startswith("discriminators.") for name in saved["state_dict"])


def test_what_lightning_cannot_do_for_two_players_is_done_or_refused(stores, tmp_path):
    module = duel.masker_data(stores)
    with pytest.raises(ConfigError, match="accumulate_grad_batches is 2, and two players step at every batch"):
        fit(duel.masker(module), module, Run(tmp_path), trainer={"accumulate_grad_batches": 2, "accelerator": "cpu"})
