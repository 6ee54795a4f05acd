from fedthorax.common.ground.seeds import derive_seed


def test_the_same_keys_give_the_same_seed():
    assert derive_seed(7, "pairs", "north", 3) == 274512795  # also on other machines and Python versions


def test_streams_differ_by_seed_key_and_type():
    seeds = [derive_seed(*keys) for keys in ((7, "a"), (8, "a"), (7, "b"), (7, "a", 1), (7, "a", "1"), (7, "a1"))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
