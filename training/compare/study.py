"""Trains one theta^S with the real trainer, adapts all domains, and scores both, all without Spark."""

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
    """Holds the samples of a data set by split. A split is read when it is first asked for."""

    def __init__(self, config: Config) -> None:
        self.config, self.snapshot = config, take_snapshot(config)
        self._rows: dict[str, Columns] = {}

    def __getitem__(self, split: str) -> Columns:
        """Returns the columns of a split: train, val or test."""
        if split not in self._rows:
            self._rows[split] = read_buckets(self.snapshot, split)
        return self._rows[split]


class Study:
    """Trains a theta^S, or loads it if it is trained already, and predicts with it.

    Attributes:
        rows: the samples by split.
        summary: what the trainer returned.
        val_auc: the mean-domain AUC of theta^S on validation rows.
    """

    def __init__(self, config: Config) -> None:
        self.summary = train(replace(config, framework=replace(config.framework, specific="none")))
        self.rows = Splits(config)
        path = model_path(config, shared_version(config, self.rows.snapshot.version))
        self.model, self.theta = load_theta(path, config)
        self.val_auc = self.mean_domain_auc(self.shared_logits("val"), "val")

    def shared_logits(self, split: str) -> np.ndarray:
        """Computes the logits of theta^S; shape (rows of the split,)."""
        return predict(self.model, self.theta, self.rows[split])

    def mean_domain_auc(self, logits: np.ndarray, split: str = "test") -> float:
        """Computes the mean-domain AUC of logits for all rows of `split`."""
        return domain_auc(self.rows[split]["domain_id"], logits, self.rows[split]["label"]).mean

    def adapt(self, config: Config, split: str = "test") -> "Adaptation":
        """Learns theta^i of every domain; validation chooses the rounds per group of domains of similar size.

        The result equals that of the jobs, but head and tail domains are adapted alike, all at once. The domain offsets
        are not stored, since a thousand of them take the memory of a thousand networks. So the rows of `split` are
        scored after each round, before the rounds are chosen.
        """
        settings = adaptation_settings(config)
        workers = Workers(config=config, snapshot=self.rows.snapshot, ranks=Ranks())
        adapter = gather_adapter(self.model, self.theta, workers)
        train_rows, rows = self.rows["train"], self.rows[split]
        turns = range(1, len(adapter.settings.rounds) + 1)
        rounds_of = dict.fromkeys(np.unique(train_rows["domain_id"]).tolist(), len(turns))
        logits = np.stack([self.shared_logits(split)] * (len(turns) + 1))
        adapted = []
        for domain in adapter.adapt(train_rows, self.rows["val"], rounds_of, Keep.ALL):
            in_domain = rows["domain_id"] == domain.domain_id
            columns = {name: column[in_domain] for name, column in rows.items()}
            for turn in turns:
                offset = {domain.domain_id: domain.offsets[turn]}
                logits[turn, in_domain] = predict_adapted(self.model, self.theta, columns, offset, logits[0, in_domain])
            adapted.append(replace(domain, offsets={}))
        groups = size_groups(np.array([domain.rows_train for domain in adapted]), settings.stop_group)
        rounds_by_group = choose_rounds(groups, np.stack([domain.val_auc for domain in adapted]))
        trainable = self.rows.snapshot.domains.trainable(settings.specific_min_rows)
        trainable_ids = set(trainable.domain_id.tolist())
        rounds = {
            domain.domain_id: rounds_by_group[group] if domain.domain_id in trainable_ids else 0
            for domain, group in zip(adapted, groups.tolist(), strict=True)
        }
        turn_of_row = np.array([rounds.get(domain_id, 0) for domain_id in rows["domain_id"].tolist()])
        return Adaptation(
            rounds=rounds,
            val_auc=float(np.nanmean([domain.val_auc[rounds[domain.domain_id]] for domain in adapted])),
            logits=logits[turn_of_row, np.arange(len(turn_of_row))],
        )


@dataclass
class Adaptation:
    """Holds the result of adapting all domains.

    Attributes:
        rounds: the chosen number of rounds, by domain.
        val_auc: the mean-domain AUC of theta^S + theta^i on validation rows.
        logits: the logits of theta^S + theta^i; shape (rows of the split,).
    """

    rounds: dict[int, int]
    val_auc: float
    logits: np.ndarray
