# SPDX-License-Identifier: Apache-2.0
"""The set-up that `make` does before every command, without the network.

What only a bare machine can show (apt, the download) is measured by hand; docs/install.md says how.
"""

import os
import resource
import subprocess
import sys

import pytest

OFFLINE = {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': '', 'UV_OFFLINE': '1'}


@pytest.fixture
def set_up(clone, environment):
    def run(**settings):
        return subprocess.run([clone / 'scripts' / 'make_venv.sh'], capture_output=True, text=True,
                              env={**environment, 'PYTHON': sys.executable, **OFFLINE, **settings},
                              check=False)
    return run


@pytest.fixture
def stamp(clone):
    """Mark an environment as complete, as the script would."""
    def write():
        (clone / '.venv' / 'bin').mkdir(parents=True, exist_ok=True)
        python = clone / '.venv' / 'bin' / 'python'
        if not python.exists():
            python.symlink_to(sys.executable)
        fingerprint = subprocess.run(
            'cat setup.py constraints.txt scripts/make_venv.sh | sha256sum',
            shell=True, cwd=clone, capture_output=True, text=True, check=True).stdout
        (clone / '.venv' / '.samg-ready').write_text(fingerprint)
    return write


def test_complete_environment_costs_less_than_a_second(set_up, stamp):
    stamp()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = set_up()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    # Seconds of computing: other work on the machine is no fault of the set-up's.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_change_of_the_requirements_is_noticed(set_up, stamp, clone):
    stamp()
    with (clone / 'setup.py').open('a') as file:
        file.write('\n# changed\n')
    assert set_up().returncode == 1  # offline, so what it began cannot end well


def test_missing_python_is_named_in_one_line(set_up):
    done = set_up(PYTHON='/nowhere/python3')
    assert done.returncode == 1
    assert done.stderr == ('set-up: error: no Python 3.10, 3.11 or 3.12 found (/nowhere/python3); '
                           'install one, or name it: make PYTHON=/path/to/python3.11 ...\n')


def test_interrupted_set_up_begins_again(set_up, clone):
    leftover = clone / '.venv' / 'bin' / 'half_a_package'
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    (clone / '.venv' / '.samg-made').write_text(f'{clone}\n')
    (clone / '.venv' / '.samg-busy').touch()
    done = set_up()
    assert 'did not end; beginning again' in done.stdout
    assert not leftover.exists()
    # No network here, so this one does not end either, and the next must begin again as well.
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith('set-up: error: the Python packages')
    assert (clone / '.venv' / '.samg-busy').exists()
    assert not (clone / '.venv' / '.samg-ready').exists()


def test_environment_of_another_place_is_made_anew(set_up, stamp, clone):
    stamp()
    (clone / '.venv' / '.samg-made').write_text('/where/it/was\n')
    assert 'was made in /where/it/was; beginning again' in set_up().stdout


def test_failed_update_leaves_what_was_complete(set_up, stamp, clone):
    stamp()
    (clone / '.venv' / '.samg-made').write_text(f'{clone}\n')
    with (clone / 'constraints.txt').open('a') as file:
        file.write('# changed\n')
    for _ in range(2):
        assert set_up().returncode == 1
        assert (clone / '.venv' / 'bin' / 'python').exists()


def test_environment_of_the_user_is_never_deleted(set_up, clone):
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', clone / '.venv'], check=True)
    (clone / '.venv' / 'bin' / 'of_the_user').touch()
    for _ in range(2):
        assert set_up().returncode == 1  # there is no pip in it
        assert (clone / '.venv' / 'bin' / 'of_the_user').exists()


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become somebody else')
def test_missing_library_without_rights_is_named_with_its_package(clone, environment, tmp_path):
    """As a user without sudo, on a machine whose EGL does not open."""
    for folder in [tmp_path, *tmp_path.parents[:3]]:
        folder.chmod(0o755)
    # libEGL.so.1 that is no library stands for one that is not there.
    (tmp_path / 'libEGL.so.1').write_text('')
    as_nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    done = subprocess.run(
        [*as_nobody, clone / 'scripts' / 'make_venv.sh'], capture_output=True, text=True,
        env={**environment, 'LD_LIBRARY_PATH': str(tmp_path), 'PYTHON': '/usr/bin/python3'},
        check=False)
    if 'no Python' in done.stderr:
        pytest.skip('/usr/bin/python3 is not 3.10 to 3.12 here')
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert line.startswith('set-up: error: this machine lacks')
    assert 'run: sudo apt-get install' in line
    assert 'libegl1 libopengl0 libgl1-mesa-dri' in line
