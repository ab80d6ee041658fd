"""The frameworks under horovodrun, in float64 to 1e-6.

Two ranks are compared with a simulation in one process. Sharded tables on one, two and three ranks are compared with
whole tables.
"""

import copy
import sys
from functools import cache

import numpy as np
import pytest
import torch

from tests.support.jobs import REPOSITORY, horovodrun
from tests.support.reference import LEARNED, PlainAdam, assert_close, loss_of, named, small_model, walk
from tests.support.some_ranks import FRAMEWORK, LR, TRAINING, rows_of
from training.data.domain_batches import domain_walk, shuffled_batches
from training.data.patch import Patch
from training.parameters.shared import SharedParameters

RANKS = (0, 1)


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory):
    """Runs some_ranks.py once for each number of ranks, and returns the tensors it saved."""

    @cache
    def run(ranks):
        folder = tmp_path_factory.mktemp("ranks")
        command = ("-np", str(ranks), sys.executable, "tests/support/some_ranks.py", str(folder))
        done = horovodrun(*command, PYTHONPATH=str(REPOSITORY))
        assert done.returncode == 0, done.stdout + done.stderr
        return {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}

    return run


@pytest.fixture(scope="module")
def results(on_ranks):
    return on_ranks(2)


def walks(model, number):
    """Yields, for each rank, its rows and its walk over their domains in round `number`."""
    for rank in RANKS:
        columns = rows_of(rank)
        patch = Patch(columns, SharedParameters.of(model).features_of, torch.device("cpu"), torch.float64)
        rng = np.random.default_rng([rank, number])
        yield columns, domain_walk(patch, TRAINING.batch_size, TRAINING.pack, rng)


def take_mean(model, ended, rate):
    """Moves `model` towards the mean of the ranks' models; the mean of a row is over the ranks that have it."""
    start = copy.deepcopy(model)
    for name, parameter in model.named_parameters():
        moves = torch.stack([named(end)[name] - named(start)[name] for _, end in ended])
        having = torch.ones(len(RANKS), len(parameter), dtype=torch.float64)
        if name in model.tables:
            for rank, (columns, _) in enumerate(ended):
                having[rank] = torch.zeros(len(parameter))
                having[rank, torch.tensor(columns[model.tables[name]]).long()] = 1
        ranks_having = having.sum(0).clamp(min=1).view(-1, *[1] * (parameter.dim() - 1))
        parameter.data += rate * moves.sum(0) / ranks_having


def test_dn_averages_each_row_over_the_ranks_that_have_it(results):
    expected = small_model()
    for number in range(2):
        walked = [(columns, walk(expected, columns, units, LR)) for columns, units in walks(expected, number)]
        take_mean(expected, walked, FRAMEWORK.outer_lr)
    for rank in RANKS:
        assert_close(results[f"dn-{rank}"], named(expected))


@pytest.mark.parametrize("framework", ["joint", "alternate"])
def test_steps_average_gradients_over_ranks_that_have_a_batch(results, framework):
    expected = small_model()
    adam = PlainAdam(expected, LR)
    for number in range(2):
        batches = []
        for rank, (columns, units) in enumerate(walks(expected, number)):
            if framework == "joint":
                rng = np.random.default_rng([rank, number])
                units = [shuffled_batches(len(columns["label"]), TRAINING.batch_size, rng)]
            batches.append([(columns, rows) for unit in units for rows in unit])
        assert len(batches[0]) != len(batches[1])
        for step in range(max(map(len, batches))):
            present = [of_rank[step] for of_rank in batches if step < len(of_rank)]
            loss = sum(loss_of(expected, columns, rows) for columns, rows in present) / len(present)
            touched = {
                name: np.concatenate([columns[name][rows] for columns, rows in present]) for name in present[0][0]
            }
            adam.step(loss, touched, slice(None))
    for rank in RANKS:
        assert_close(results[f"{framework}-{rank}"], named(expected))


def test_reptile_averages_walks_with_outer_steps(results):
    expected = small_model()
    for number in range(2):
        ended = []
        for columns, units in walks(expected, number):
            model = copy.deepcopy(expected)
            for unit in units:
                walked = walk(model, columns, [unit], LR)
                for parameter, moved in zip(model.parameters(), walked.parameters(), strict=True):
                    parameter.data += FRAMEWORK.outer_lr * (moved - parameter).detach()
            ended.append((columns, model))
        take_mean(expected, ended, 1.0)
    for rank in RANKS:
        assert_close(results[f"reptile-{rank}"], named(expected))


@pytest.mark.parametrize("framework", LEARNED)
def test_all_ranks_end_with_the_same_parameters(results, framework):
    assert_close(results[f"{framework}-0"], results[f"{framework}-1"])
    start = named(small_model(framework=framework))
    assert any(not torch.equal(value, start[name]) for name, value in results[f"{framework}-0"].items())


def test_rows_are_summed_over_ranks(results):
    for rank in RANKS:
        ids, sums, counts = results[f"sum-{rank}"]
        assert (ids.tolist(), sums["table"].tolist(), counts.tolist()) == ([1, 3], [[1.0], [7.0]], [1, 2])


@pytest.mark.parametrize("ranks", [2, 3])
def test_traffic_depends_on_the_rows_and_not_on_the_table(on_ranks, ranks):
    ids = np.arange(8 * ranks).reshape(ranks, 8)  # of each rank
    owner = ids % ranks
    for rank in range(ranks):
        asked, given = (owner[rank] != rank).sum(), (np.delete(owner, rank, axis=0) == rank).sum()
        pulled, pushed = 8 * asked + 64 * 4 * given, (8 + 64 * 4) * asked  # an id has 8 bytes, a row 64 floats
        mean = 2 * (ranks - 1) / ranks * 30 * 4  # a ring allreduce of 30 floats
        assert on_ranks(ranks)[f"traffic-{rank}"] == [pulled + pushed, pulled + pushed, mean]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("framework", LEARNED)
def test_sharded_tables_learn_what_whole_tables_learn(on_ranks, framework, ranks):
    saved = on_ranks(ranks)
    for rank in range(ranks):
        assert_close(saved[f"sharded-{framework}-{rank}"], saved[f"{framework}-{rank}"])
