# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the contracts of pyproject.toml hold, and notice when they do not."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES = 14, 350, 60


@pytest.fixture
def lint(clone, environment):
    def run():
        code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
        return subprocess.run([sys.executable, '-c', code, '--no-cache'], cwd=clone,
                              env={**environment, 'PYTHONPATH': str(clone)}, capture_output=True,
                              text=True, check=False)
    return run


def test_contracts_hold(lint):
    done = lint()
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(('module', 'line', 'broken'), [
    ('samg_ros/masking/settings.py', 'import samg_ros.observation', 'masking stands alone'),
    ('samg_ros/masking/settings.py', 'import mujoco', 'masking stands alone'),
    ('samg_ros/rl/config.py', 'import rclpy', 'only graphs, nodes and their parts know ROS'),
    ('sim/env.py', 'import rclpy', 'only graphs, nodes and their parts know ROS'),
    ('samg_ros/bags/bag.py', 'import rclpy', 'only graphs, nodes and their parts know ROS'),
    ('samg_ros/policy/watchdog.py', 'import samg_ros.nodes.policy_node', 'arrows go down'),
    ('samg_ros/rl/config.py', 'import samg_ros.rl.agents.drqv2', 'inside rl, arrows go down'),
    ('sim/env.py', 'import samg_ros.masking', 'the simulator does not mask'),
])
def test_forbidden_import_is_found(lint, clone, module, line, broken):
    path = clone / module
    path.write_text(f'{path.read_text()}\n{line}\n')
    done = lint()
    assert done.returncode == 1
    assert any(broken in shown and 'BROKEN' in shown for shown in done.stdout.splitlines())


def _imports(path):
    """Modules that a file imports, those under TYPE_CHECKING and inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
            yield node.module


def _sources():
    return [path for folder in ('samg_ros', 'sim') for path in (ROOT / folder).rglob('*.py')
            if (ROOT / 'samg_ros/sim') not in path.parents]


def _graph():
    files = {'.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): path
             for path in (ROOT / 'samg_ros').rglob('*.py')}
    files |= {f'samg_ros.{name}': path for name, path in (
        ('.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'), path)
        for path in (ROOT / 'sim').rglob('*.py'))}
    return {name: {each for each in _imports(path) if each in files and each != name}
            for name, path in files.items()}


def _cycles(graph):
    """What is left after removing, again and again, modules that import nothing of the rest."""
    left = dict(graph)
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    return sorted(left)


def test_there_is_no_import_circle_even_for_types():
    assert _cycles(_graph()) == []


def test_a_circle_would_be_found():
    assert _cycles({'a': {'b'}, 'b': {'a'}, 'c': set()}) == ['a', 'b']


def test_folders_and_files_stay_small_enough_to_read():
    sources = _sources()
    folders = Counter(path.parent for path in sources)
    assert {str(folder): count for folder, count in folders.items() if count > MOST_FILES} == {}
    lengths = {str(path): len(path.read_text().splitlines()) for path in sources}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def _length(function):
    """Lines of a function without its docstring."""
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (
        first.end_lineno - first.lineno + 1 if text else 0)


def test_functions_stay_short_enough_to_read():
    lengths = {f'{path.relative_to(ROOT)}: {each.name}': _length(each) for path in _sources()
               for each in ast.walk(ast.parse(path.read_text()))
               if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert len(lengths) > 1000
    assert {name: length for name, length in lengths.items() if length > MOST_FUNCTION_LINES} == {}
