# SPDX-License-Identifier: Apache-2.0
"""`samg demo arm` as a user starts it; and that its commands are ones that there are."""

import json

import pytest
from processes import Command

from samg_ros.cli import COMMANDS, build_parser, main
from samg_ros.files.outputs import MARKER
from samg_ros.graphs.commands.demo_arm import stages


def test_each_of_its_commands_can_be_typed(tmp_path):
    for stage in stages(tmp_path, 2, 100, 3, 0):
        name = next(name for name in COMMANDS if stage.words[:len(name)] == name)
        assert build_parser(name).parse_args(stage.words).samg_run


@pytest.mark.slow
def test_it_records_learns_runs_and_measures(tmp_path):
    command = Command(tmp_path, 'demo', 'arm', '--recorded', '1', '--steps', '20', '--episodes',
                      '1', '--out', 'demo')
    assert command.process.wait(1200) == 0, command.text()
    page = tmp_path / 'demo/arm.html'
    assert command.text().splitlines()[-1] == str(page.resolve())
    replayed = json.loads((tmp_path / 'demo/replay.json').read_text())
    assert replayed['commands'] == replayed['equal'] > 0
    said = page.read_text()
    for words in ('15 episodes with', 'samg train clone', 'Reached the target', '0 of 1',
                  'policy sees'):
        assert words in said, words


def test_a_folder_that_holds_something_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / 'notes.txt').write_text('mine')
    assert main(['demo', 'arm', '--out', str(tmp_path)]) == 2
    assert 'files that are not results of samg' in capsys.readouterr().err
    (tmp_path / 'notes.txt').rename(tmp_path / MARKER)  # an earlier demonstration
    assert main(['demo', 'arm', '--out', str(tmp_path)]) == 2
    assert 'is not empty; give a new one' in capsys.readouterr().err
