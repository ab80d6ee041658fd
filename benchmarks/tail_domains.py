"""Measures what learning theta^i of many tail domains in one step saves over one domain at a time.

    python -m benchmarks.tail_domains --config conf/taobao_online.yaml [--domains 400] [key=value ...]

Needs tables and a theta^S, as benchmarks/scale.py leaves them. Uses one thread, the rows of one bucket in memory, and
the config's number of rounds of DR. Prints one JSON object as the last line.
"""

import argparse
import time

import numpy as np

from benchmarks.figures import print_figures
from pipelines.tasks.adapt_domains import open_adapter
from pipelines.tasks.model_key import ModelKey
from training.config import load_config
from training.data.columns import Columns, select
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.distributed.device import use_cpu
from training.frameworks.specific.adapter import Adapter, Keep


def main() -> None:
    """Adapts the domains both ways and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--domains", type=int, default=400)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    use_cpu(threads=1)
    config = load_config(arguments.config, arguments.settings)
    snapshot = take_snapshot(config)
    adapter = open_adapter(ModelKey.find(config, snapshot.version))
    tail = snapshot.domains.where(~snapshot.domains.head).trainable(config.framework.specific_min_rows)
    bucket = int(tail.first_bucket[0])
    in_bucket = tail.domain_id[tail.first_bucket == bucket]
    chosen = np.random.default_rng(0).permutation(in_bucket)[: arguments.domains]
    train, val = (read_buckets(snapshot, split, [bucket]) for split in ("train", "val"))
    together = seconds(adapter, [(select(train, np.isin(train["domain_id"], chosen)), val, chosen.tolist())])
    singles = [
        (select(train, train["domain_id"] == domain), select(val, val["domain_id"] == domain), [domain])
        for domain in chosen.tolist()
    ]
    alone = seconds(adapter, singles)
    print(f"{len(chosen)} domains: {together:.1f} s together, {alone:.1f} s one at a time")
    print_figures(domains=len(chosen), per_second=len(chosen) / together, against_one_at_a_time=alone / together)


def seconds(adapter: Adapter, groups: list[tuple[Columns, Columns, list[int]]]) -> float:
    """Returns the seconds that adapting all groups takes; a group is its rows of train and val, and its domains."""
    start = time.monotonic()
    for train, val, domains in groups:
        for _ in adapter.adapt(train, val, dict.fromkeys(domains, len(adapter.settings.rounds)), Keep.LAST):
            pass
    return time.monotonic() - start


if __name__ == "__main__":
    main()
