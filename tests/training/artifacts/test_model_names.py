"""Tests that a model is named after the settings that decide its values."""

from training.artifacts.model_names import shared_version


def test_settings_that_decide_a_model_are_in_its_name(built):
    names = [
        shared_version(built.config(*settings), 1)
        for settings in (
            [],
            ["seed=1"],
            ["model.dropout=0.2"],
            ["framework.inner_lr=0.1"],
            ["framework.outer_lr=0.1"],
            ["training.pack=false"],
            ["framework.interleave=true"],
            ["framework.shared=pcgrad"],
            ["framework.shared=pcgrad", "framework.pcgrad_domains=3"],
            ["framework.shared=none"],
        )
    ]
    assert len(set(names)) == len(names)
    assert shared_version(built.config("training.epochs=9"), 1) == names[0] != shared_version(built.config(), 2)
    joint = [shared_version(built.config(f"framework.name={name}"), 1) for name in ("joint", "joint_dr")]
    assert joint[0] == joint[1]
