"""One theta^S, trained by the trainer itself, with theta^i of all domains, and the scores of both; without Spark."""

from dataclasses import dataclass, replace

import numpy as np

from training.artifacts.model_names import model_path, shared_version
from training.artifacts.model_store import load_theta
from training.config import Config
from training.config.framework_settings import adaptation_settings
from training.data.columns import Columns
from training.data.petastorm_reader import read_buckets
from training.data.snapshot import take_snapshot
from training.distributed.ranks import Ranks
from training.frameworks.specific.adapter import Keep
from training.frameworks.specific.round_choice import choose_rounds, size_groups
from training.loop.gather_adapter import gather_adapter
from training.loop.training_run import Workers
from training.metrics import domain_auc
from training.parameters.forward import predict, predict_adapted
from training.train import train


class Splits:
    """The samples of a data set, by split, read when they are first asked for."""

    def __init__(self, config: Config) -> None:
        self.config, self.snapshot = config, take_snapshot(config)
        self._rows: dict[str, Columns] = {}

    def __getitem__(self, split: str) -> Columns:
        if split not in self._rows:
            self._rows[split] = read_buckets(self.snapshot, split)
        return self._rows[split]


class Study:
    """A theta^S that the trainer trained, or finds trained.

    Attributes:
        rows: the samples by split. summary: of the trainer. val_auc: mean-domain AUC on validation rows.
    """

    def __init__(self, config: Config) -> None:
        self.summary = train(replace(config, framework=replace(config.framework, specific="none")))
        self.rows = Splits(config)
        path = model_path(config, shared_version(config, self.rows.snapshot.version))
        self.model, self.theta = load_theta(path, config)
        self.val_auc = self.score(self.shared_logits("val"), "val")

    def shared_logits(self, split: str) -> np.ndarray:
        """The logits of theta^S, shape (rows,)."""
        return predict(self.model, self.theta, self.rows[split])

    def score(self, logits: np.ndarray, split: str = "test") -> float:
        """The mean-domain AUC of logits of all rows of `split`."""
        return domain_auc(self.rows[split]["domain_id"], logits, self.rows[split]["label"]).mean

    def adapt(self, config: Config, split: str = "test") -> "Adaptation":
        """Learns theta^i of every domain, for as many rounds as validation allows in its group of like size.

        As the jobs do, but over all domains at once, whether head or tail; and theta^i is not kept, for a thousand of
        them are a thousand networks: the rows of `split` are scored after each round, and then the rounds are chosen.
        """
        workers = Workers(config=config, snapshot=self.rows.snapshot, ranks=Ranks())
        adapter = gather_adapter(self.model, self.theta, workers)
        train_rows, rows = self.rows["train"], self.rows[split]
        turns = range(1, len(adapter.settings.rounds) + 1)
        rounds_of = dict.fromkeys(np.unique(train_rows["domain_id"]).tolist(), len(turns))
        logits = np.stack([self.shared_logits(split)] * (len(turns) + 1))
        adapted = []
        for one in adapter.adapt(train_rows, self.rows["val"], rounds_of, Keep.ALL):
            own = rows["domain_id"] == one.domain_id
            columns = {name: column[own] for name, column in rows.items()}
            for turn in turns:
                specific = {one.domain_id: one.offsets[turn]}
                logits[turn, own] = predict_adapted(self.model, self.theta, columns, specific, logits[0, own])
            adapted.append(replace(one, offsets={}))
        groups = size_groups(np.array([one.rows_train for one in adapted]), adaptation_settings(config).stop_group)
        rounds = choose_rounds(groups, np.stack([one.val_auc for one in adapted]))
        able = set(
            self.rows.snapshot.domains.trainable(adaptation_settings(config).specific_min_rows).domain_id.tolist()
        )
        kept = {
            one.domain_id: rounds[group] if one.domain_id in able else 0
            for one, group in zip(adapted, groups.tolist(), strict=True)
        }
        turn_of_row = np.array([kept.get(domain, 0) for domain in rows["domain_id"].tolist()])
        return Adaptation(
            rounds=kept,
            val_auc=float(np.nanmean([one.val_auc[kept[one.domain_id]] for one in adapted])),
            logits=logits[turn_of_row, np.arange(len(turn_of_row))],
        )


@dataclass
class Adaptation:
    """theta^i of all domains, as far as validation kept it.

    Attributes:
        rounds: by domain. val_auc: the mean-domain AUC of theta^S + theta^i on validation rows.
        logits: of theta^S + theta^i, shape (rows of the split,).
    """

    rounds: dict[int, int]
    val_auc: float
    logits: np.ndarray
