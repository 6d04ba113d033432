# SPDX-License-Identifier: Apache-2.0
"""Picks docstrings and pages at random, to be read without the code at hand.

    python scripts/pick_readings.py --seed 14 --docstrings 20 --pages 5

A reader writes down in other words what each says. Where that is wrong, or the text had to be read
twice, the text is rewritten.
"""

import argparse
import ast
import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield place and text of every public docstring of the package and the simulator."""
    for path in sorted((*ROOT.glob('samg_ros/**/*.py'), *ROOT.glob('sim/**/*.py'))):
        if 'samg_ros/sim/' in str(path):
            continue  # the link; sim/ itself is read
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                name = getattr(node, 'name', 'module')
                text = ast.get_docstring(node)
                if text and not name.startswith('_'):
                    yield f'{path.relative_to(ROOT)}:{getattr(node, "lineno", 1)} {name}', text


def main() -> None:
    """Print what was picked."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--seed', type=int, default=14)
    parser.add_argument('--docstrings', type=int, default=20)
    parser.add_argument('--pages', type=int, default=5)
    args = parser.parse_args()
    pick = random.Random(args.seed)
    for place, text in pick.sample(list(docstrings()), args.docstrings):
        print(f'--- {place}\n{text}\n')
    for page in sorted(pick.sample(sorted((ROOT / 'docs').glob('*.md')), args.pages)):
        print(f'--- {page.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
