"""What it saves to learn theta^i of many tail domains in one step, against one domain after the other.

    python -m benchmarks.tail_domains --config conf/taobao_online.yaml [--domains 400] [key=value ...]

On tables and a theta^S that are there, as benchmarks/scale.py leaves them: one thread, one bucket's rows in memory, as
many rounds of DR as the config says. Prints, as the last line, one JSON object.
"""

import argparse
import time

import numpy as np

from benchmarks.figures import print_figures
from pipelines.tasks.adapt_domains import ModelKey, open_adapter
from training.config import load_config
from training.data.columns import Columns, select
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.distributed.device import use_cpu
from training.frameworks.specific.adapter import Adapter, Keep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--domains", type=int, default=400)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    known = parser.parse_args()
    use_cpu(threads=1)
    config = load_config(known.config, known.settings)
    snapshot = take_snapshot(config)
    adapter = open_adapter(ModelKey.find(config, snapshot.version))
    tail = snapshot.domains.where(~snapshot.domains.head).trainable(config.framework.specific_min_rows)
    bucket = int(tail.first_bucket[0])
    in_bucket = tail.domain_id[tail.first_bucket == bucket]
    chosen = np.random.default_rng(0).permutation(in_bucket)[: known.domains]
    train, val = (read_buckets(snapshot, split, [bucket]) for split in ("train", "val"))
    together = seconds(adapter, [(select(train, np.isin(train["domain_id"], chosen)), val, chosen.tolist())])
    parts = [(select(train, train["domain_id"] == d), select(val, val["domain_id"] == d), [d]) for d in chosen.tolist()]
    alone = seconds(adapter, parts)
    found = {"domains": len(chosen), "per_second": len(chosen) / together, "against_one_at_a_time": alone / together}
    print(f"{len(chosen)} domains: {together:.1f} s together, {alone:.1f} s one after the other")
    print_figures(**found)


def seconds(adapter: Adapter, parts: list[tuple[Columns, Columns, list[int]]]) -> float:
    """The time to adapt the domains of each part, rows of train and val beside them."""
    start = time.monotonic()
    for train, val, domains in parts:
        for _ in adapter.adapt(train, val, dict.fromkeys(domains, len(adapter.settings.rounds)), Keep.LAST):
            pass
    return time.monotonic() - start


if __name__ == "__main__":
    main()
