# SPDX-License-Identifier: Apache-2.0
"""Nothing that comes from a disk or a topic is unpickled or run: whoever sends it is not us."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = sorted(path for folder in ('samg_ros', 'sim', 'launch', 'benchmarks')
              for path in (ROOT / folder).rglob('*.py')
              if path.relative_to(ROOT).parts[:2] != ('samg_ros', 'sim'))  # the link to sim/
RUNNING = {'pickle', 'cPickle', '_pickle', 'dill', 'joblib', 'cloudpickle', 'shelve', 'marshal'}
"""Modules whose data is code."""
ERRORS = {'UnpicklingError', 'PickleError'}
"""What of them may be named: what a safe reader raises."""
OWN_PIPE = {'samg_ros/masking/engines/compilation.py': ['dumps', 'load']}
"""What a process sends to a child that it has started, through a pipe that nobody else has."""
UNSAFE_YAML = {'load', 'load_all', 'unsafe_load', 'unsafe_load_all', 'full_load', 'full_load_all'}


def offences(source):
    """Return the lines of a module that could run what they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] in RUNNING:
            bad = {alias.name for alias in node.names} - ERRORS
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) \
                and node.value.id in RUNNING:
            bad = {node.attr} - ERRORS
        elif isinstance(node, ast.Import):
            bad = {alias.name for alias in node.names} & (RUNNING - {'pickle'})
            bad |= {alias.asname for alias in node.names if alias.name in RUNNING and alias.asname}
        elif isinstance(node, ast.Call):
            bad = _unsafe_call(node)
        else:
            continue
        if bad:
            found.append((node.lineno, ', '.join(sorted(bad))))
    return found


def _unsafe_call(node):
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name == 'torch.load' and given.get('weights_only') != 'True':
        return {name}
    if name in ('np.load', 'numpy.load') and given.get('allow_pickle', 'False') != 'False':
        return {name}
    if name in {f'yaml.{each}' for each in UNSAFE_YAML} | {'eval', 'exec', 'torch.jit.load'}:
        return {name}
    return set()


@pytest.mark.parametrize('path', CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_can_run(path):
    allowed = OWN_PIPE.get(str(path.relative_to(ROOT)), [])
    assert [what for _, what in offences(path.read_text())] == allowed


@pytest.mark.parametrize('line', [
    'import pickle\npickle.load(file)', 'from pickle import loads', 'import joblib',
    'import pickle as p', 'torch.load(path)', 'torch.load(path, weights_only=False)',
    'np.load(path, allow_pickle=True)', 'yaml.load(text, Loader)', 'eval(text)'])
def test_what_could_run_is_noticed(line):
    assert offences(line)
