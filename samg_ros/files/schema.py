# SPDX-License-Identifier: Apache-2.0
"""YAML, JSON and other plain values from elsewhere, checked against a type: one way for all.

The type is a dataclass, a `msgspec.Struct`, or a `typing` expression; msgspec compares. Numbers
must be finite, a mapping must not have a key twice, and YAML has no aliases here, which could make
a small file a huge one (ROS's own reader of parameter files refuses them too).
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
import yaml

from samg_ros.errors import SamgError, plain
from samg_ros.files.reading import parsing, read_text

MAX_YAML_BYTES = 2**18
"""Of a YAML file: parameter files have some 10 kB, and PyYAML reads about 100 kB a second."""
_DEEPEST = 64
"""Levels of lists and mappings in one another."""

Kind = TypeVar('Kind')


def convert(values: Any, kind: type[Kind], name: str, error: type[SamgError],
            finite: bool = True) -> Kind:
    """Return plain values as the type that they must have.

    Args:
        values: mappings, lists, texts and numbers, as JSON, YAML or pickle give them.
        kind: a whole number is a float too, a list is a tuple too; nothing else is converted.
        name: what the values are, for the message.
        error: class to raise.
        finite: refuse NaN and infinity.

    Raises:
        error: if they are something else, nested too deep, or not finite; it says what and where.
    """
    _check_numbers(values, name, error, finite)
    if is_dataclass(kind) and isinstance(values, Mapping):
        _check_names(values, [each.name for each in fields(kind)], name, error)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as problem:
        raise error(f'{name}: {plain(problem)}{_beside(problem, values, kind)}') from problem


def _beside(problem: Exception, values: Any, kind: Any) -> str:
    """Return what msgspec leaves out of its message about a single value."""
    if get_origin(kind) is Literal:
        return f'; expected {", ".join(map(str, get_args(kind)))}'
    single = isinstance(values, int | float | str) and 'got' not in str(problem)
    return f', got {plain(values, 60)}' if single else ''


def read_json(path: Path | str, kind: type[Kind], error: type[SamgError]) -> Kind:
    """Read a JSON file as `convert` does.

    Raises:
        error: if it cannot be read, is not JSON, or holds something else.
    """
    return parse_json(read_text(path, error), kind, f"'{path}'", error)


def parse_json(text: str | bytes, kind: type[Kind], name: str, error: type[SamgError],
               finite: bool = True) -> Kind:
    """Read JSON as `convert` does."""
    with parsing(f'{name} is not JSON', error, 'mend it'):
        values = json.loads(text, object_pairs_hook=_unique)
    return convert(values, kind, name, error, finite)


def read_yaml(path: Path | str, kind: type[Kind], error: type[SamgError], finite: bool = True
              ) -> Kind:
    """Read a YAML file as `convert` does; an empty one is an empty mapping.

    Raises:
        error: if it cannot be read, is not YAML, or holds something else.
    """
    text = read_text(path, error, MAX_YAML_BYTES)
    with parsing(f"'{path}' is not valid YAML", error, 'mend it'):
        values = _Loader(text).get_single_data()
    return convert({} if values is None else values, kind, f"'{path}'", error, finite)


def _check_names(values: Mapping[Any, Any], known: list[str], name: str, error: type[SamgError]
                 ) -> None:
    if unknown := sorted(map(str, values.keys() - set(known))):
        raise error(f"{name} has the unknown key '{plain(unknown[0], 60)}'; known are "
                    f'{", ".join(sorted(known))}')


def _check_numbers(values: Any, name: str, error: type[SamgError], finite: bool,
                   depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise error(f'{name} is nested more than {_DEEPEST} levels deep')
    if isinstance(values, float) and finite and not math.isfinite(values):
        raise error(f'{name} holds {values}; give finite numbers')
    inside: Any = ()
    if isinstance(values, Mapping):
        inside = values.values()
    elif isinstance(values, list | tuple):
        inside = values
    for each in inside:
        _check_numbers(each, name, error, finite, depth + 1)


def _unique(pairs: list[tuple[Hashable, Any]]) -> dict[Any, Any]:
    values: dict[Any, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key '{key}' is given twice")
        values[key] = value
    return values


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice in one mapping, and aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError('aliases (*name) are not read; write the value again')
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return _unique([(self.construct_object(key, deep=True),
                         self.construct_object(value, deep=True)) for key, value in node.value])


_Loader.add_constructor(  # of SafeLoader: a generator that fills in the values later
    'tag:yaml.org,2002:map', _Loader.construct_mapping)
