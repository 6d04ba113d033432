# SPDX-License-Identifier: Apache-2.0
"""Pages of the documentation site that are not files of docs/; mkdocs.yml names this as a hook.

README, CONTRIBUTING and the changelog lie in the root of the repository, and the API reference has
a page for each folder of the package, made from its docstrings.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGE = 'samg_ros'
OF_THE_ROOT = {'readme.md': 'README.md', 'contributing.md': 'CONTRIBUTING.md',
               'changelog.md': 'CHANGELOG.rst'}


def on_config(config: MkDocsConfig) -> None:
    """Put the API pages into the navigation."""
    section = next(entry for entry in config.nav or [] if 'API' in entry)
    section['API'] = [f'api/{name}.md' for name in _folders()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are made here."""
    for page, source in OF_THE_ROOT.items():
        text = (ROOT / source).read_text(encoding='utf-8')
        files.append(File.generated(config, page, content=_from_the_root(text)))
    for name, modules in _folders().items():
        files.append(File.generated(config, f'api/{name}.md', content=_api_page(name, modules)))


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links from docs/ to files of the root lead to their pages."""
    for page, source in OF_THE_ROOT.items():
        markdown = markdown.replace(f'](../{source}', f']({page}')
    return markdown


def _from_the_root(text: str) -> str:
    """Let a text of the root's links lead to pages of docs/; headings of RST become Markdown's."""
    for page, source in OF_THE_ROOT.items():
        text = text.replace(f']({source}', f']({page}')
    text = re.sub(r'^\^+\n(.+)\n\^+$', r'# \1', text, flags=re.MULTILINE)
    text = re.sub(r'^(\S.+)\n-+$', r'## \1\n', text, flags=re.MULTILINE)
    return text.replace('](docs/', '](')


def _folders() -> dict[str, list[str]]:
    """Return the folders of the package, and '' for its own files, with their modules' names."""
    folders: dict[str, list[str]] = {}
    for path in sorted((ROOT / PACKAGE).rglob('*.py')) + sorted((ROOT / 'sim').rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        parts = (PACKAGE, *parts) if parts[0] == 'sim' else parts
        if parts[:2] == (PACKAGE, 'sim') and (ROOT / PACKAGE / 'sim') in path.parents:
            continue  # the link; sim/ itself is read
        if parts[-1] == '__main__':
            continue
        names = parts[:-1] if parts[-1] == '__init__' else parts
        folder = parts[1] if len(parts) > 2 else PACKAGE
        folders.setdefault(folder, []).append('.'.join(names))
    return folders


def _api_page(name: str, modules: list[str]) -> str:
    title = PACKAGE if name == PACKAGE else f'{PACKAGE}.{name}'
    # `members` of a package would show its modules a second time.
    blocks = [f'::: {module}\n    options:\n      show_submodules: false\n' for module in modules]
    return '\n'.join([f'# {title}\n', *blocks])
