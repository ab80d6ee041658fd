import torch

from tests.support.reference import small_model
from training.parameters.domain_offsets import NO_ID, DomainOffset, OffsetGroup
from training.parameters.shared import SharedParameters


def test_stacked_offsets_are_unstacked_unchanged():
    theta = SharedParameters.of(small_model())
    offsets = []
    for size in (1, 3):
        offset = DomainOffset.zeros(theta, {vocabulary: torch.arange(size) for vocabulary in theta.features_of})
        offset.dense += size
        for rows in offset.rows.values():
            rows += size
        offsets.append(offset)
    group = OffsetGroup.stack(theta, offsets)
    assert group.ids["user_id"].tolist() == [[0, NO_ID, NO_ID], [0, 1, 2]]
    for expected, actual in zip(offsets, group.unstack(theta), strict=True):
        assert torch.equal(actual.dense, expected.dense)
        for vocabulary, ids in expected.ids.items():
            assert torch.equal(actual.ids[vocabulary], ids)
        for name, rows in expected.rows.items():
            assert torch.equal(actual.rows[name], rows)
