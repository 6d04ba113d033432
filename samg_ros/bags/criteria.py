# SPDX-License-Identifier: Apache-2.0
"""Pass or fail of a bag, by criteria of a YAML file: bags in continuous integration.

Each line names a figure of `samg eval bag` and its bound:

    criteria:
      truth_iou.p5: {at_least: 0.6}       # of all frames, the fifth percentile
      empty_masks: {at_most: 0}
      latency_ms.p95: {at_most: 50}
      longest_gap_s: {at_most: 0.2}
      policy.difference.max: {at_most: 0.001}
      beyond_limits: {at_most: 0}         # commands, with --limits

A figure that the bag does not give, such as an IoU without true masks, fails: nothing was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from samg_ros.errors import ConfigError
from samg_ros.files.outputs import write_bytes
from samg_ros.files.schema import convert, read_yaml

AT_LEAST, AT_MOST = 'at_least', 'at_most'


@dataclass(frozen=True)
class Bounds:
    """What a figure must keep to."""

    at_least: float = -math.inf
    at_most: float = math.inf


@dataclass(frozen=True)
class Criterion:
    """Bounds that one figure of the bag must keep."""

    figure: str
    """Its name in bag.json, parts separated by dots."""
    at_least: float = -math.inf
    at_most: float = math.inf


@dataclass(frozen=True)
class _File:
    """What the YAML file holds."""

    criteria: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A criterion and the figure that it was compared with."""

    criterion: Criterion
    value: float | None
    """None if the bag does not give the figure."""

    @property
    def passed(self) -> bool:
        """Whether the figure is there and within its bounds."""
        criterion = self.criterion
        return self.value is not None and criterion.at_least <= self.value <= criterion.at_most

    @property
    def words(self) -> str:
        """What was found and what was asked for, in one line."""
        criterion = self.criterion
        bounds = ' and '.join(f'{name.replace("_", " ")} {bound:g}' for name, bound in (
            (AT_LEAST, criterion.at_least), (AT_MOST, criterion.at_most)) if math.isfinite(bound))
        found = 'not measured' if self.value is None else f'{self.value:g}'
        return f'{criterion.figure}: {found}, {bounds} is asked for'


def load_criteria(path: Path | str) -> tuple[Criterion, ...]:
    """Read criteria from a YAML file.

    Raises:
        ConfigError: if the file cannot be read, or a line of it cannot be used.
    """
    table = read_yaml(path, _File, ConfigError).criteria
    if not table:
        raise ConfigError(f"the file '{path}' has no criteria; expected the key criteria with "
                          'figures and their bounds')
    criteria = []
    for figure, given in table.items():
        name = f"the criterion '{figure}' of '{path}'"
        bounds = convert(given, Bounds, name, ConfigError)
        if bounds == Bounds():
            raise ConfigError(f'{name} must have {AT_LEAST} or {AT_MOST}')
        criteria.append(Criterion(figure, bounds.at_least, bounds.at_most))
    return tuple(criteria)


def judge(criteria: Sequence[Criterion], figures: Mapping[str, Any]) -> tuple[Verdict, ...]:
    """Compare figures with criteria.

    Args:
        criteria: from `load_criteria`.
        figures: nested; counts by cause are added up.
    """
    return tuple(Verdict(each, _figure(figures, each.figure)) for each in criteria)


def write_junit(path: Path | str, name: str, verdicts: Sequence[Verdict]) -> None:
    """Write verdicts as JUnit XML, a test case for each criterion.

    Raises:
        OutputError: if the file cannot be written.
    """
    failed = sum(not each.passed for each in verdicts)
    suite = ElementTree.Element('testsuite', name=name, tests=str(len(verdicts)),
                                failures=str(failed), errors='0')
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, 'testcase', classname=name,
                                      name=verdict.criterion.figure)
        if not verdict.passed:
            ElementTree.SubElement(case, 'failure', message=verdict.words)
    write_bytes(path, ElementTree.tostring(suite, encoding='utf-8', xml_declaration=True))


def _figure(figures: Mapping[str, Any], name: str) -> float | None:
    found: Any = figures
    for part in name.split('.'):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    if isinstance(found, Mapping):
        counts = list(found.values())
        if not all(isinstance(each, int) for each in counts):
            return None
        return float(sum(counts))
    return None if found is None or isinstance(found, str) else float(found)
