"""Hashes of integers, and the pseudo-random permutations made from them."""

import numpy as np
import pytest

from training.hashing import hash_keys, mix, permute


def test_hash_depends_on_the_keys_and_not_on_the_order_of_rows():
    users, order = np.arange(1000), np.random.default_rng(0).permutation(1000)
    np.testing.assert_array_equal(hash_keys(5, users[order]), hash_keys(5, users)[order])


def test_hash_depends_on_the_seed_and_the_order_of_keys():
    pairs = np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2)
    hashes = np.concatenate([hash_keys(seed, pairs[:, 0], pairs[:, 1]) for seed in (0, 1)])
    assert len(np.unique(hashes)) == 20_000


def test_hash_broadcasts_scalars():
    np.testing.assert_array_equal(hash_keys(7, np.array([3, 4])), [hash_keys(7, 3), hash_keys(7, 4)])


def test_hash_accepts_negative_seeds():
    assert hash_keys(-1, 3) != hash_keys(1, 3)


def test_mix_is_the_finaliser_of_splitmix64():
    with np.errstate(over="ignore"):
        state = np.uint64(0x9E3779B97F4A7C15) * np.arange(1, 4, dtype=np.uint64)
        # the first outputs of the reference splitmix64.c with seed 0
        expected = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], np.uint64)
        np.testing.assert_array_equal(mix(state), expected)


@pytest.mark.parametrize("size", [*range(1, 71), 255, 256, 257, 4096, 4097, 100_003])
def test_permute_is_a_bijection(size):
    permuted = permute(np.arange(size), np.full(size, size), np.full(size, 42))
    np.testing.assert_array_equal(np.sort(permuted), np.arange(size))


@pytest.mark.parametrize("size", [2, 3, 5, 8, 16])
def test_permute_maps_pairs_uniformly(size):
    keys = hash_keys(0, np.arange(40_000))
    first, second = (permute(np.full(len(keys), at), np.full(len(keys), size), keys) for at in (0, 1))
    counts = np.bincount(first * size + second, minlength=size * size)[~np.eye(size, dtype=bool).ravel()]
    expected, freedom = len(keys) / len(counts), len(counts) - 1
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def test_permute_depends_on_the_key():
    first, second = (permute(np.arange(50), np.full(50, 50), np.full(50, key)) for key in (1, 2))
    assert (first != second).sum() > 40


def test_permute_treats_each_element_alone():
    sizes = np.array([1, 5, 70, 1000, 70])
    positions, keys = np.array([0, 4, 69, 17, 3]), np.array([9, 8, 7, 6, 5])
    together = permute(positions, sizes, keys)
    alone = [permute(positions[[i]], sizes[[i]], keys[[i]])[0] for i in range(len(sizes))]
    np.testing.assert_array_equal(together, alone)


def test_permute_of_an_empty_array_is_empty():
    assert permute(np.array([], int), np.array([], int), np.array([], int)).tolist() == []
