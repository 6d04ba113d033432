# SPDX-License-Identifier: Apache-2.0
"""The `samg` command line: what it imports, how it fails, what it promises."""

import argparse
import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from samg_ros import cli, doctor
from samg_ros.errors import ConfigError, ReferenceLoadError
from samg_ros.files.text import take_any_terminal
from samg_ros.ros.domain import choose_domain
from samg_ros.sim.gl import prepare_gl


def samg(*arguments):
    """Run the command as a user does, in a process of its own."""
    return subprocess.run([sys.executable, '-m', 'samg_ros', *arguments], capture_output=True,
                          text=True, check=False)


def test_help_names_every_command(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    for path, command in cli.COMMANDS.items():
        assert ' '.join(path) in shown
        assert command.summary in shown


def test_help_imports_no_heavy_library():
    code = ('import sys\nfrom samg_ros.cli import main\nmain([])\n'
            'heavy = {"torch", "mujoco", "rclpy", "cv2", "numpy"} & set(sys.modules)\n'
            'sys.exit(f"imported {heavy}" if heavy else 0)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_a_third_of_a_second_of_computing():
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        samg('--help')
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Not the clock on the wall: other work on the machine is no fault of the command's.
    assert min(seconds() for _ in range(3)) < 0.3


@pytest.mark.parametrize('path', cli.COMMANDS, ids=' '.join)
def test_every_command_declares_its_arguments(path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*path, '--help'])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f'usage: samg {" ".join(path)} ')


@pytest.mark.parametrize(('arguments', 'said'), [
    (['trian'], "'trian' is not a command; did you mean 'train'?"),
    (['run', 'sim_trian'], "'run sim_trian' is not a command; did you mean 'sim_train'?"),
    (['eval'], 'required: NOUN; see `samg eval --help`'),
    (['--nonsense'], 'see `samg --help`'),
    (['mask', 'x.png'], '--reference, --out; see `samg mask --help`'),
    (['train', 'mini', '--steps', 'many'], "'many': expected a whole number of at least 1"),
])
def test_mistyped_command_is_one_line_that_says_what_was_meant(arguments, said, capsys):
    try:
        status = cli.main(arguments)
    except SystemExit as stop:  # argparse's way
        status = stop.code
    shown = capsys.readouterr()
    assert status == 2
    assert shown.out == ''
    assert shown.err.startswith('samg: error: ')
    assert said in shown.err
    assert shown.err.count('\n') == 1


@pytest.mark.parametrize('word', ['\ud800', 'a\0b'])
@pytest.mark.parametrize('command', [('doctor', '--json'), ('mask',)])
def test_characters_that_no_file_name_has_are_one_line(capsys, command, word):
    assert cli.main([*command, word]) == 2
    line = capsys.readouterr().err
    assert line.count('\n') == 1 and 'no file name has such characters' in line


def test_error_of_the_package_is_one_line_and_exit_2(tmp_path):
    done = samg('reference', 'show', str(tmp_path / 'nowhere'))
    assert done.returncode == 2
    assert done.stderr.startswith('samg: error: ')
    assert 'nowhere' in done.stderr
    assert done.stderr.count('\n') == 1


def test_traceback_is_there_for_who_asks(tmp_path, monkeypatch):
    monkeypatch.setenv('SAMG_TRACEBACK', '1')
    with pytest.raises(ReferenceLoadError):
        cli.main(['reference', 'show', str(tmp_path / 'nowhere')])


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that makes `samg probe` run the given lines."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.COMMANDS, ('probe',), cli.Command('samg_probe', 'try something'))

    def write(body, imports=''):
        (tmp_path / 'samg_probe.py').write_text(
            f'{imports}\ndef add_arguments(parser):\n    pass\n\ndef run(args):\n    {body}\n')
        monkeypatch.delitem(sys.modules, 'samg_probe', raising=False)

    return write


def test_exit_status_is_what_the_command_returns(command):
    command('return 3')
    assert cli.main(['probe']) == 3


def test_a_command_that_returns_nothing_succeeded(command):
    command('pass')
    assert cli.main(['probe']) == 0


def test_interrupt_is_one_line_and_exit_130(command, capsys):
    command('raise KeyboardInterrupt')
    assert cli.main(['probe']) == 130
    assert capsys.readouterr().err == 'samg: interrupted\n'


def test_memory_that_does_not_suffice_is_one_line(command, capsys):
    command('raise MemoryError')
    assert cli.main(['probe']) == 2
    assert 'the memory does not suffice' in capsys.readouterr().err


def test_message_of_many_lines_becomes_one(command, capsys):
    command(r'raise CheckpointError("no good:\n  try again")',
            'from samg_ros.errors import CheckpointError')
    assert cli.main(['probe']) == 2
    assert capsys.readouterr().err == 'samg: error: no good: try again\n'


def test_missing_library_is_named_and_the_doctor_recommended(command, capsys):
    command('pass', 'import a_library_that_nobody_has')
    assert cli.main(['probe']) == 2
    said = capsys.readouterr().err
    assert "'a_library_that_nobody_has' is not installed" in said
    assert 'samg doctor' in said


def test_bug_keeps_its_traceback(command):
    command('raise RuntimeError("a bug")')
    with pytest.raises(RuntimeError, match='a bug'):
        cli.main(['probe'])


def test_reader_that_leaves_early_is_no_error():
    done = subprocess.run(f'{sys.executable} -m samg_ros --help | head -1', shell=True,
                          capture_output=True, text=True, check=False)
    assert done.stderr == ''


@pytest.mark.parametrize('body', [
    'print("begun", flush=True); print("going on", flush=True)', 'print("too late to be seen")'])
def test_what_was_not_done_for_want_of_a_reader_is_no_success(command, tmp_path, body):
    command(body)
    reading, writing = os.pipe()
    os.close(reading)
    program = ('import sys; from samg_ros import cli; sys.path.insert(0, sys.argv[1]); '
               'cli.COMMANDS["probe",] = cli.Command("samg_probe", "x"); '
               'sys.exit(cli.main(["probe"]))')
    done = subprocess.run([sys.executable, '-c', program, str(tmp_path)], stdout=writing,
                          stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (cli.EXIT_NO_READER, '')


@pytest.mark.parametrize('words, said', [
    ('eval masks --recolour nan', '--recolour'), ('eval masks --recolour -0.1', 'from 0 to 1'),
    ('bench sim --seconds 1e999', '--seconds'), ('bench graph --peak inf', '--peak'),
    ('bench graph --overload nan', '--overload'), ('bench graph --frames 0', '--frames'),
    ('train expert --stop-at nan', '--stop-at'), ('train policy --gpus -1', '--gpus'),
    ('train policy --set steps= --steps 8', '--steps alone'),
    ('bench learning --actions 99999999999999999999999', '--actions'),
    ('study ablation --episode-seed ,', '--episode-seed'), ('train policy --task ,', '--task'),
    ('eval masks --setting train,', '--setting'), ('study robustness --strength nan', 'from 0'),
    ('train policy --set seed=3', '--seed alone'), ('train clone --set seed=3', '--seed alone'),
    ('train clone --demonstrations x --set steps=2 --steps 3', '--steps alone'),
    ('bench learning --set compile=true', '--compile alone'),
    ('train clone --chunk 4', '--demonstrations; leave it out'),
    ('train clone --camera-reference front=x', '--demonstrations; leave it out'),
    ('train clone --demonstrations x --episodes 3', '--episodes is for cloning an expert'),
    ('train clone --demonstrations x --masks both', '--masks is for cloning an expert'),
    ('train clone --demonstrations x --camera-reference front', 'NAME=PATH'),
    ('demonstrations import x.mcap --task t --out y --episodes 3', '--episodes is for HDF5'),
    ('demonstrations import x.h5 --task t --out y --contract c', '--contract is for bags'),
    ('demonstrations export x --format bag --out y --frames both', '--frames is for masking'),
    ('run sim_train --overrides {"seed":5}', "overrides hold 'seed'"),
    ('run sim_train --steps 5 --overrides {"steps":5}', "overrides hold 'steps'")])
def test_what_would_be_ignored_or_is_no_number_is_refused_by_name(words, said, tmp_path,
                                                                  monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_doctor_finds_this_machine_able_to_render_and_to_talk(capsys, tmp_path):
    findings = tmp_path / 'findings.json'
    cli.main(['doctor', '--json', str(findings)])
    shown = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()
             if line.split()}
    assert shown['Rendering'] == shown['ROS'] == shown['PyTorch'] == doctor.OK
    assert '"Rendering"' in findings.read_text()


def test_doctor_says_what_to_set_for_a_renderer_that_is_none(monkeypatch):
    monkeypatch.setenv('MUJOCO_GL', 'a_driver_that_nobody_has')
    finding = doctor.check_rendering()
    assert finding.state == doctor.MISSING
    assert 'set it to egl' in finding.text


def test_doctor_takes_no_folder_for_a_library(tmp_path, monkeypatch):
    (tmp_path / 'launch_ros').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'launch_ros', raising=False)
    assert not doctor._installed('a_library_that_nobody_has')
    (tmp_path / 'a_folder').mkdir()
    assert not doctor._installed('a_folder')


PATHS = {'BAG', 'CHECKPOINT', 'CONTRACT', 'DATASET', 'DEMONSTRATIONS', 'DIR', 'EXPERT', 'FILE',
         'FILE.jsonl', 'FILE.mcap', 'FILE.npz', 'FILE.xml', 'FOLDER', 'INPUT', 'JSON', 'LIMITS',
         'OUT', 'PARAMS_FILE', 'PATH', 'POLICY', 'REFERENCE', 'RUN', 'RUN_DIR', 'SOURCE', 'VIDEOS',
         'YAML'}
"""What arguments that are paths are called in their help."""
OTHERS = {('--source', 'SOURCE'), ('--weights', 'FILE')}
"""What a policy sees; several paths in one text, read where the model is loaded."""


@pytest.mark.parametrize('path', cli.COMMANDS, ids=' '.join)
def test_the_home_folder_is_read_in_every_path_alike(path, monkeypatch):
    monkeypatch.setenv('HOME', '/somewhere')
    parser = argparse.ArgumentParser()
    cli.COMMANDS[path].load(parser)
    for action in parser._actions:
        name = (action.option_strings or [''])[0]
        called = str(action.metavar or action.dest.upper())
        assert action.type is not Path, f'{name}: take arguments.path_argument'
        if called in PATHS and (name, called) not in OTHERS and action.nargs != 0:
            assert action.type is not None, name
            assert str(action.type('~/here')) == '/somewhere/here', name
            with pytest.raises(argparse.ArgumentTypeError):
                action.type('~nobody-has-this-name/here')


def test_signs_that_a_terminal_lacks_come_as_others(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(shown, 'ascii', write_through=True))
    take_any_terminal()
    print('3 ± 1 ██░ ü')
    assert shown.getvalue() == b'3 +- 1 ##. \\xfc\n'
    assert b'a\xa9'.decode(errors='samg_terminal') == 'a\\xa9'


def test_an_error_of_the_system_is_one_line_that_names_the_file(command, capsys):
    command('open("/dev/full", "w").write("a" * 100_000)')
    assert cli.main(['probe']) == 2
    assert capsys.readouterr().err == 'samg: error: No space left on device\n'
    command('open("/nowhere/there")')
    assert cli.main(['probe']) == 2
    assert capsys.readouterr().err == "samg: error: '/nowhere/there': No such file or directory\n"


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_puts_things_in_order_as_ctrl_c_does(command, capsys, number):
    before = signal.getsignal(number)
    command(f'signal.raise_signal({int(number)})', 'import signal')
    assert cli.main(['probe']) == 130
    assert capsys.readouterr().err == 'samg: interrupted\n'
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(('variables', 'message'), [
    ({'MUJOCO_GL': 'nonsense'}, "MUJOCO_GL is 'nonsense', which cannot draw; set it to egl"),
    ({'MUJOCO_GL': 'Off'}, "MUJOCO_GL is 'off'"),
    ({'MUJOCO_GL': 'EGL', 'PYOPENGL_PLATFORM': 'osmesa'}, 'does not go with MUJOCO_GL=egl')])
def test_unusable_settings_of_opengl_are_one_line(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        prepare_gl()


@pytest.mark.parametrize('number', ['abc', '-1', '233', '1' * 100, '1.5', '\x1b'])
def test_an_unusable_domain_is_one_line(monkeypatch, number):
    monkeypatch.setenv('ROS_DOMAIN_ID', number)
    with pytest.raises(ConfigError, match='set a whole number from 0 to 232'):
        choose_domain()


def test_ros_that_cannot_start_says_where_to_look():
    code = ('from samg_ros.errors import ConfigError\nfrom samg_ros.ros.domain import init_ros\n'
            'try:\n    init_ros([])\nexcept ConfigError as error:\n    print(error)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          env={**os.environ, 'ROS_LOG_DIR': '/dev/null/logs'}, check=True)
    assert done.stdout.startswith('ROS 2 cannot start (') and 'ROS_LOG_DIR' in done.stdout
    assert done.stdout.count('\n') == 1


@pytest.mark.parametrize(('arguments', 'message'), [
    (('train', 'policy', '--run-dir', 'FILE'), 'is a file; give a folder'),
    (('train', 'clone', '--run-dir', 'FILE/run'), 'cannot write'),
    (('train', 'mini', '--data', 'FILE'), 'is a file; give a folder'),
    (('run', 'sim_train', '--run-dir', '/proc/run'), 'cannot write'),
    (('run', 'bag_eval', '--bag', 'x', '--out', 'FILE'), 'is a file; give a folder'),
    (('reference', 'render', '--task', 'walker_walk', '--out', 'FILE'), 'is a file; give a folder'),
    (('doctor', '--json', f'new/{"x" * 256}'), 'File name too long'),
    (('bench', 'sim', '--json', f'new/{"x" * 256}/a.json'), 'File name too long'),
    (('eval', 'masks', '--out', 'new/' + '\u6f22' * 86), 'File name too long'),
    (('doctor', '--json', 'FOLDER'), 'is a folder; give the name of a file in it'),
    (('doctor', '--json', 'FILE'), 'exists; give another name, or --overwrite')])
def test_outputs_are_checked_before_the_work(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / 'FILE').touch()
    (tmp_path / 'FOLDER').mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count('\n') == 1 and not shown.out


@pytest.mark.parametrize('words', [
    'train mini --device cuda:77', 'train mini --device meta', 'bench learning --device nothing',
    'bench masking --devices cpu cuda:77', 'bench graph --device cuda:77',
    'reference make a.png --device cuda:77', 'run sim_train --task t --steps 1 --device nothing',
    'study ablation --device cuda:77'])
def test_a_device_that_is_not_there_is_refused_before_the_work(tmp_path, monkeypatch, capsys,
                                                               words):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) == 2
    error, = capsys.readouterr().err.splitlines()
    assert f"device '{words.split()[-1]}' cannot be used" in error
    assert not list(tmp_path.iterdir())
