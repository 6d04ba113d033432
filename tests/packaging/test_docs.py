# SPDX-License-Identifier: Apache-2.0
"""The documentation: links lead somewhere, and what is printed from the code is up to date."""

import ast
import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from samg_ros import cli
from samg_ros.masking import MaskerSettings
from samg_ros.masking.settings import SIMILARITY_PROMPTS
from samg_ros.rl.evaluation.shipped import FOLDER

ROOT = Path(__file__).parents[2]


def run_script(name):
    return subprocess.run([sys.executable, f'scripts/{name}.py'], cwd=ROOT, check=True,
                          capture_output=True, text=True,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)}).stdout


def test_the_page_of_parameters_is_that_of_the_code():
    assert run_script('parameter_table') == (ROOT / 'docs/parameters.md').read_text()


def test_every_declared_parameter_is_on_the_page():
    page = (ROOT / 'docs/parameters.md').read_text()
    names = {call.args[1].value for path in (ROOT / 'samg_ros').rglob('*.py')
             for call in ast.walk(ast.parse(path.read_text()))
             if isinstance(call, ast.Call) and getattr(call.func, 'id', '') == 'declare'
             and isinstance(call.args[1], ast.Constant)}
    assert len(names) > 80
    assert not [name for name in names if f'| `{name}` |' not in page]


def test_the_picture_of_the_architecture_is_that_of_the_code():
    assert run_script('architecture_picture') == (
        ROOT / 'docs/images/architecture.svg').read_text()


def build_site(folder, without=()):
    """Build the site from a folder that links to the files of the repository."""
    for name in ('docs', 'scripts', 'samg_ros', 'sim', 'mkdocs.yml', 'README.md',
                 'CONTRIBUTING.md', 'CHANGELOG.rst'):
        if name not in without:
            (folder / name).symlink_to(ROOT / name)
    return subprocess.run([sys.executable, '-m', 'mkdocs', 'build'], cwd=folder,
                          capture_output=True, text=True)


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs', reason='mkdocs is not installed: pip install samg_ros[docs]')
    built = build_site(tmp_path)
    assert built.returncode == 0, built.stderr
    assert 'Masker' in (tmp_path / 'build/site/api/masking.html').read_text()


def test_dead_links_of_the_site_are_errors(tmp_path):
    pytest.importorskip('mkdocs', reason='mkdocs is not installed: pip install samg_ros[docs]')
    (tmp_path / 'docs').mkdir()
    for page in (ROOT / 'docs').iterdir():
        (tmp_path / 'docs' / page.name).symlink_to(page)
    (tmp_path / 'docs/launch.md').unlink()
    (tmp_path / 'docs/launch.md').write_text('# Launch\n\n[x](no_such_page.md) [y](bags.md#none)\n')
    built = build_site(tmp_path, without=('docs', 'samg_ros', 'sim'))  # no long API reference
    assert built.returncode != 0
    assert 'no_such_page.md' in built.stderr and '#none' in built.stderr


def commands(page):
    """Yield the words of every command in a page's shell blocks, its environment left out."""
    for block in re.findall(r'```sh\n(.*?)```', page.read_text(), re.DOTALL):
        for line in block.replace('\\\n', ' ').splitlines():
            for part in line.split(' && '):
                words = shlex.split(part, comments=True)
                words = [word for before, word in zip(['', *words], words, strict=False)
                         if word != '...' or before.startswith('--')]
                while words and re.match(r'\w+=', words[0]):
                    del words[0]
                if words:
                    yield words


PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]


def test_every_command_of_the_pages_is_one_with_all_its_options():
    count = 0
    for page in PAGES:
        for program, *words in commands(page):
            if Path(program).name == 'samg':
                typed = next((each for each in cli.COMMANDS if tuple(words[:len(each)]) == each),
                             ())
                assert typed or words == ['--help'], f'{page.name}: samg {" ".join(words)}'
                cli.build_parser(typed).parse_args(words)  # an error names the option
                count += 1
            elif program == 'make':
                targets = [word for word in words if '=' not in word and not word.startswith('-')]
                assert all(re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE)
                           for target in targets), f'{page.name}: make {" ".join(words)}'
    assert count > 60


def test_the_pages_of_masker_and_perception_name_every_switch():
    for page in ('masking.md', 'perception.md'):
        text = (ROOT / 'docs' / page).read_text()
        assert not [field.name for field in dataclasses.fields(MaskerSettings)
                    if f'`{field.name}`' not in text], page
        assert not [value for value in SIMILARITY_PROMPTS if f'`{value}`' not in text], page


def test_the_page_of_policies_lists_those_that_come_with_the_package():
    listed = set(re.findall(r'^\| `(\w+)` \|', (ROOT / 'docs/policies.md').read_text(),
                            re.MULTILINE))
    assert listed == {path.stem for path in FOLDER.glob('*.pt')}
