# SPDX-License-Identifier: Apache-2.0
"""Every way of installing the package, done for real: colcon, wheel, editable."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXECUTABLES = {'samg', 'samg_mujoco_bridge', 'samg_perception', 'samg_policy',
               'samg_command_guard', 'samg_trainer'}

REPORT = """
import json
import samg_ros, samg_ros.sim, samg_ros.sim.tasks
print(json.dumps({'package': samg_ros.__path__[0], 'sim': samg_ros.sim.__path__[0],
                  'version': samg_ros.__version__}))
"""
SHARE = """
from ament_index_python.packages import get_package_prefix, get_package_share_directory
print(get_package_prefix('samg_ros'))
print(get_package_share_directory('samg_ros'))
"""


def run(*command, cwd, env):
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def colcon_build(*options, workspace, env):
    colcon = 'from colcon_core.command import main; import sys; sys.exit(main())'
    run(sys.executable, '-c', colcon, 'build', *options, cwd=workspace, env=env)


def missing_files(folder, names):
    return [str(name) for name in names if not (Path(folder) / name).is_file()]


@pytest.mark.parametrize('options', [(), ('--symlink-install',)], ids=['copies', 'symlinks'])
def test_colcon_build_of_a_clone(options, clone, environment, tracked_files, package_files):
    workspace = clone.parents[1]
    colcon_build(*options, workspace=workspace, env=environment)

    def after_setup(code):
        return run('bash', '-c', f'source install/setup.bash && cd / && "{sys.executable}" -c "$0"',
                   code, cwd=workspace, env=environment)

    # The ament index knows the package, its launch files and its parameter files.
    prefix, share = map(Path, after_setup(SHARE).split())
    assert prefix == workspace / 'install' / 'samg_ros'
    shared = [name for name in tracked_files if name.parts[0] in ('launch', 'config')]
    assert missing_files(share, [*shared, 'package.xml']) == []

    # Python finds all of it, simulator and weights included, and not in the checkout by accident.
    report = json.loads(after_setup(REPORT))
    assert report['package'].startswith(str(workspace / ('build' if options else 'install')))
    assert report['sim'] == f'{report["package"]}/sim'
    assert missing_files(report['package'], package_files) == []

    # `ros2 run` and launch files find the executables here.
    scripts = prefix / 'lib' / 'samg_ros'
    assert {path.name for path in scripts.iterdir()} >= {
        name.removeprefix('samg_') for name in EXECUTABLES}
    version = run('bash', '-c', f'source install/setup.bash && "{scripts}/samg" --version',
                  cwd=workspace, env=environment)
    assert version.split() == ['samg_ros', report['version']]


def test_symlink_install_follows_the_sources(clone, environment):
    workspace = clone.parents[1]
    colcon_build('--symlink-install', workspace=workspace, env=environment)
    (clone / 'sim' / 'newcomer.py').write_text('HERE = True\n')
    run('bash', '-c', f'source install/setup.bash && cd / && "{sys.executable}" -c '
        '"import samg_ros.sim.newcomer"', cwd=workspace, env=environment)


def test_wheel_holds_everything(clone, environment, package_files, tracked_files, tmp_path):
    pip = (sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check')
    run(*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', tmp_path, clone,
        cwd=tmp_path, env=environment)
    wheel, = tmp_path.glob('samg_ros-*.whl')
    prefix = tmp_path / 'prefix'
    run(*pip, 'install', '--no-deps', '--ignore-installed', '--prefix', prefix, wheel,
        cwd=tmp_path, env=environment)

    site, = prefix.glob('lib/python*/site-packages')
    with_site = {**environment, 'PYTHONPATH': str(site)}
    report = json.loads(run(sys.executable, '-c', REPORT, cwd=tmp_path, env=with_site))
    assert report['package'] == str(site / 'samg_ros')
    assert missing_files(report['package'], package_files) == []
    shared = [name for name in tracked_files if name.parts[0] in ('launch', 'config')]
    assert missing_files(prefix / 'share' / 'samg_ros', shared) == []
    # On the PATH, unlike colcon's, where `ros2 run` looks.
    assert {path.name for path in (prefix / 'bin').iterdir()} >= EXECUTABLES
    assert run(prefix / 'bin' / 'samg', '--version', cwd=tmp_path, env=with_site).split() == [
        'samg_ros', report['version']]


def test_editable_install_is_the_checkout(clone, environment, tmp_path):
    prefix = tmp_path / 'prefix'
    run(sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check', 'install', '--no-deps',
        '--no-build-isolation', '--ignore-installed', '--prefix', prefix, '-e', clone,
        cwd=tmp_path, env=environment)
    site, = prefix.glob('lib/python*/site-packages')
    # A folder on PYTHONPATH is not searched for the .pth file that makes an install editable; and
    # -S keeps out another editable install of this package.
    report = json.loads(run(
        sys.executable, '-S', '-c',
        f'import site, sys; site.addsitedir({str(site)!r}); '
        f'site.addsitedir({_site_packages()!r})\n{REPORT}', cwd=tmp_path, env=environment))
    assert report['package'] == str(clone / 'samg_ros')
    assert report['sim'] == str(clone / 'samg_ros' / 'sim')
    assert (prefix / 'bin' / 'samg').exists()


def _site_packages():
    import numpy
    return str(Path(numpy.__file__).parents[1])
