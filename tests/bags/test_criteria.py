# SPDX-License-Identifier: Apache-2.0
"""A bag passes or fails by criteria: exit status, JUnit XML, and a line for each frame."""

import json
import os
from xml.etree import ElementTree

import pytest

from samg_ros.bags.criteria import Criterion, judge, load_criteria
from samg_ros.cli import main
from samg_ros.errors import ConfigError

from .conftest import COUNT, array, session, stamps, write

LIMITS = 'joint_limits: {a: {max_velocity: 1.0, min_position: -1.0, max_position: 1.0}}\n'


@pytest.fixture
def evaluate(tmp_path, reference):
    """Write a bag with commands, evaluate it; returns the exit status."""
    reference.save(tmp_path / 'reference')
    (tmp_path / 'limits.yaml').write_text(LIMITS)
    messages = session() + [('/command', stamp + 5, *array([0.1], [('action', 1)]))
                            for stamp in stamps()]
    bag = write(tmp_path / 'bag', sorted(messages, key=lambda each: each[1]))

    def run(criteria):
        (tmp_path / 'criteria.yaml').write_text(criteria)
        return main(['eval', 'bag', str(bag), '--reference', str(tmp_path / 'reference'),
                     '--criteria', str(tmp_path / 'criteria.yaml'), '--overwrite',
                     '--junit', str(tmp_path / 'junit.xml'), '--limits',
                     str(tmp_path / 'limits.yaml'), '--frame-lines', str(tmp_path / 'f.jsonl')])
    return run


def test_a_bag_that_keeps_all_criteria_passes(evaluate, tmp_path, capsys):
    assert evaluate('criteria: {truth_iou.mean: {at_least: 0.5}, beyond_limits: {at_most: 0}, '
                    'unusable: {at_most: 0}}') == 0
    assert capsys.readouterr().out.count('passed') == 3
    lines = [json.loads(line) for line in (tmp_path / 'f.jsonl').read_text().splitlines()]
    assert [line['stamp_ns'] for line in lines] == list(stamps())
    assert len(lines) == COUNT and lines[0]['temporal_iou'] is None
    assert all(0 < line['truth_iou'] <= 1 for line in lines)


def test_a_criterion_that_is_not_kept_or_not_measured_fails(evaluate, tmp_path, capsys):
    assert evaluate('criteria: {truth_iou.p5: {at_least: 1.1}, policy.compared: {at_least: 1}, '
                    'empty_masks: {at_most: 0}}') == 1
    said = capsys.readouterr().out
    assert said.count('FAILED') == 2 and 'policy.compared: not measured' in said
    suite = ElementTree.parse(tmp_path / 'junit.xml').getroot()
    assert (suite.get('tests'), suite.get('failures')) == ('3', '2')
    failed = {case.get('name') for case in suite if case.find('failure') is not None}
    assert failed == {'truth_iou.p5', 'policy.compared'}


def test_limits_are_counted_without_criteria_too(evaluate, tmp_path, capsys):
    evaluate('criteria: {empty_masks: {at_most: 0}}')  # writes the files
    capsys.readouterr()
    assert main(['eval', 'bag', str(tmp_path / 'bag'), '--reference', str(tmp_path / 'reference'),
                 '--limits', str(tmp_path / 'limits.yaml')]) == 0
    assert 'beyond_limits 0' in capsys.readouterr().out


def test_counts_by_cause_are_added_up():
    figures = {'unusable': {'black': 2, 'torn': 3}, 'rate_hz': None, 'spread': {'p5': 0.5}}
    def value(name):
        return judge([Criterion(name)], figures)[0].value
    assert value('unusable') == 5 and value('rate_hz') is None
    assert value('spread') is None and value('spread.p5') == 0.5


@pytest.mark.parametrize('text, words', [
    ('criteria: {a: {above: 1}}',
     "criterion 'a' .*unknown key 'above'; known are at_least, at_most"),
    ('criteria: {a: {at_most: many}}', "criterion 'a' .*Expected `float`, got `str`"),
    ('criteria: {a: {at_most: .nan}}', 'finite'),
    ('criteria: {a: {at_most: true}}', 'got `bool`'),
    (f'criteria: {{a: {{at_most: {"9" * 400}}}}}', 'out of range'),
    ('criteria: {a: {at_most: 1}, a: {at_most: 2}}', "'a' is given twice"),
    ('criteria: {a: &x {at_most: 1}, b: *x}', 'aliases'),
    ('criteria: {a: {}}', 'must have at_least or at_most'), ('[' * 5000, 'not valid YAML'),
    ('criteria: []', 'Expected `object`'), ('{}', 'has no criteria'), ('{', 'not valid YAML')])
def test_criteria_that_cannot_be_used_are_named(tmp_path, text, words):
    (tmp_path / 'c.yaml').write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_criteria(tmp_path / 'c.yaml')


def test_criteria_of_a_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'c.yaml')
    with pytest.raises(ConfigError, match='not a regular file'):
        load_criteria(tmp_path / 'c.yaml')
