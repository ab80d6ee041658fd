"""Reads YAML files and dotted key=value settings into typed dataclasses, by OmegaConf."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from training.errors import UserError

T = TypeVar("T")


def split_arguments(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the file and the settings of `--config FILE key=value ...`."""
    parser = argparse.ArgumentParser(description="Settings are described in training/config/.")
    parser.add_argument("--config", required=True, help="a YAML file, as those in conf/")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="dotted keys that override the file")
    parsed = parser.parse_args(arguments)
    return parsed.config, parsed.settings


def read_settings(config_class: type[T], path: str, settings: Sequence[str] = ()) -> T:
    """Returns an instance of the dataclass `config_class`, from the YAML file at `path` and dotted `settings`.

    Raises:
        UserError: the file is missing or no YAML mapping; a key does not exist (the message names the nearest
            one) or has no value; a value has the wrong type.
    """
    return to_dataclass(merge_settings(config_class, path, settings), path)


def merge_settings(config_class: type, path: str, settings: Sequence[str]) -> DictConfig:
    """Merges defaults, the YAML file at `path` and dotted `settings`; the last one wins. Raises as `read_settings`."""
    values = _read_yaml(path)
    pairs = [_parse_setting(setting) for setting in settings]
    given = [(key, path) for key in flatten(values)] + [(key, "command line") for key, _ in pairs]
    keys = _dotted_keys(config_class, [key for key, _ in given])
    for key, origin in given:
        if key not in keys:
            nearest = difflib.get_close_matches(key, keys, n=1, cutoff=0)[0]
            raise UserError(f'config key "{key}" ({origin}) does not exist: did you mean "{nearest}"?')
    try:
        merged = OmegaConf.merge(OmegaConf.structured(config_class), OmegaConf.create(values))
        for key, value in pairs:
            OmegaConf.update(merged, key, value)
    except OmegaConfBaseException as error:
        raise _wrong_type(error) from None
    assert isinstance(merged, DictConfig)
    return merged


def to_dataclass(merged: DictConfig, path: str) -> Any:
    """Returns the dataclass that `merged` was made from, with its values. Raises UserError if one is missing."""
    try:
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UserError(f'config key "{missing[0]}" has no value: set it in {path} or as {missing[0]}=VALUE')
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise _wrong_type(error) from None


def flatten(values: Mapping, prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested mappings by their dotted keys.

    >>> flatten({"a": {"b": 1, "c": 2}, "d": 3})
    {'a.b': 1, 'a.c': 2, 'd': 3}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


class _Strings(yaml.SafeLoader):
    """Leaves scalars but null as they are written; OmegaConf gives them the type of their field.

    YAML itself would read the domain keys 007 and on as 7 and true.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _read_yaml(path: str) -> dict:
    try:
        with open(path) as file:
            values = yaml.load(file, _Strings) or {}
    except OSError as error:
        raise UserError(f"config {path} cannot be read ({error.strerror}): give --config an existing file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"config {path} must hold keys and values, as those in conf/ do")
    return values


def _parse_setting(setting: str) -> tuple[str, Any]:
    key, separator, value = setting.partition("=")
    if not separator:
        raise UserError(f'argument "{setting}" is not of the form key=value')
    try:
        return key, yaml.load(value, _Strings)
    except yaml.YAMLError:
        return key, value


def _dotted_keys(config_class: Any, given: Sequence[str], prefix: str = "") -> list[str]:
    """Lists the keys that exist; below a dictionary, those with the names that `given` keys have there."""
    keys = []
    for entry in fields(config_class):
        key = prefix + entry.name
        keys.append(key)
        kind: Any = entry.type  # a class here, not its name
        if is_dataclass(kind):
            keys.extend(_dotted_keys(kind, given, f"{key}."))
        elif get_origin(kind) is dict:
            depth = key.count(".") + 1
            names = {other.split(".")[depth] for other in given if other.startswith(f"{key}.")}
            value = get_args(kind)[1]
            for name in sorted(names):
                keys.append(f"{key}.{name}")
                keys.extend(_dotted_keys(value, given, f"{key}.{name}.") if is_dataclass(value) else [])
    return keys


def _wrong_type(error: OmegaConfBaseException) -> UserError:
    return UserError(f'config key "{error.full_key}" has a value of the wrong kind: {str(error).splitlines()[0]}')
