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
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from samg_ros.errors import ConfigError, first_line
from samg_ros.files.outputs import write_bytes

AT_LEAST, AT_MOST = 'at_least', 'at_most'


@dataclass(frozen=True)
class Criterion:
    """A bound of one figure."""

    figure: str
    """Where it stands in the figures, parts separated by dots."""
    at_least: float = -math.inf
    at_most: float = math.inf


@dataclass(frozen=True)
class Verdict:
    """What became of a criterion."""

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
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the criteria '{path}': {first_line(error)}") from error
    table = content.get('criteria') if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"the file '{path}' has no criteria; expected the key criteria with "
                          'figures and their bounds')
    return tuple(_parse(path, str(figure), bounds) for figure, bounds in table.items())


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


def _parse(path: Path | str, figure: str, bounds: Any) -> Criterion:
    if not isinstance(bounds, dict) or not bounds or not set(bounds) <= {AT_LEAST, AT_MOST}:
        raise ConfigError(f"the criterion '{figure}' of '{path}' must have {AT_LEAST} or "
                          f'{AT_MOST}, got {bounds!r}')
    for name, bound in bounds.items():
        if isinstance(bound, bool) or not isinstance(bound, int | float) or math.isnan(bound):
            raise ConfigError(f"{name} of the criterion '{figure}' of '{path}' must be a number, "
                              f'got {bound!r}')
    return Criterion(figure, **{name: float(bound) for name, bound in bounds.items()})


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
