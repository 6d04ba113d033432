# SPDX-License-Identifier: Apache-2.0
"""Draws docs/images/architecture.svg: which folder imports which, and a frame's way to a command.

    python scripts/architecture_picture.py > docs/images/architecture.svg

The upper part is read from the code: rows are the layers of pyproject.toml that `lint-imports`
holds, arrows are imports. An arrow that follows from others (a -> b -> c gives a -> c) is left out.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import grimp

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = 'samg_ros'
WIDTH, ROW, BOX_WIDTH, BOX_HEIGHT, GAP = 960, 74, 132, 34, 26
WAY = (('camera driver', 'or mujoco_bridge', 'camera/image_raw'),
       ('perception', 'masking.Masker', 'masked/image_raw'),
       ('policy', 'Observer, actor, arm limits', 'command_raw'),
       ('command_guard', 'zeros after silence', 'command'),
       ('controller', 'ros2_control', ''))
"""Node, what it does with a frame or a command, and the topic that it sends."""
STYLE = """<style>
rect { fill: #eef2fb; stroke: #3f51b5; } text { font: 14px sans-serif; text-anchor: middle; }
.small { font-size: 11px; fill: #444; } .title { font-size: 16px; font-weight: bold; }
path { stroke: #777; fill: none; marker-end: url(#tip); }
</style><defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"
markerHeight="8" orient="auto">
<path d="M0 0L8 4L0 8z" style="fill:#777;stroke:none"/></marker></defs>"""

Place = tuple[float, float]


def layers() -> list[list[str]]:
    """Return the folders of each layer of the package, the highest first; single files left out."""
    with (ROOT / 'pyproject.toml').open('rb') as file:
        contracts = tomllib.load(file)['tool']['importlinter']['contracts']
    rows = next(each['layers'] for each in contracts if each['name'] == 'arrows go down')
    named = [[part.strip().removeprefix(f'{PACKAGE}.') for part in row.split('|')] for row in rows]
    folders = [[name for name in row if (ROOT / PACKAGE / name).is_dir()] for row in named]
    return [row for row in folders if row]


def imports(folders: set[str]) -> set[tuple[str, str]]:
    """Return which folder imports which, without the arrows that follow from others."""
    graph = grimp.build_graph(PACKAGE)
    found = {name: set() for name in folders}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            upper, lower = (f'{name}..'.split('.')[1] for name in (module, other))
            if upper in folders and lower in folders and upper != lower:
                found[upper].add(lower)

    def reached(name: str) -> set[str]:
        return {name}.union(*map(reached, found[name]))

    return {(upper, lower) for upper in folders for lower in found[upper]
            if not any(lower in reached(other) for other in found[upper] - {lower})}


def box(place: Place, name: str, below: str = '', width: float = BOX_WIDTH) -> str:
    """Return a box with its middle at a place, one or two lines in it."""
    x, y = place
    height = BOX_HEIGHT + (14 if below else 0)
    lines = f'<text x="{x}" y="{y + (0 if below else 5)}">{name}</text>'
    if below:
        lines += f'<text class="small" x="{x}" y="{y + 16}">{below}</text>'
    return (f'<rect x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}" '
            f'rx="4"/>{lines}')


def folder_part(top: float) -> Iterator[str]:
    """Yield the shapes of the upper part."""
    places: dict[str, Place] = {}
    for number, row in enumerate(layers()):
        step = BOX_WIDTH + GAP
        left = WIDTH / 2 - (len(row) - 1) * step / 2 + (-1) ** number * 14
        places.update({name: (left + column * step, top + number * ROW)
                       for column, name in enumerate(row)})
    for upper, lower in sorted(imports(set(places))):
        (x0, y0), (x1, y1) = places[upper], places[lower]
        x0, x1 = x0 + (x1 - x0) * 0.08, x1 - (x1 - x0) * 0.08
        begin, end = y0 + BOX_HEIGHT / 2, y1 - BOX_HEIGHT / 2
        yield f'<path d="M{x0:.0f} {begin:.0f}C{x0:.0f} {begin + 26:.0f} {x1:.0f} ' \
              f'{end - 26:.0f} {x1:.0f} {end:.0f}"/>'
    yield from (box(place, name) for name, place in sorted(places.items()))


def way_part(top: float) -> Iterator[str]:
    """Yield the shapes of the lower part."""
    step = WIDTH / len(WAY)
    for number, (name, what, topic) in enumerate(WAY):
        x = step * (number + 0.5)
        yield box((x, top), name, what, step - 34)
        if topic:
            yield (f'<path d="M{x + step / 2 - 17} {top}H{x + step / 2 + 17}"/>'
                   f'<text class="small" x="{x + step / 2}" y="{top - 34}">{topic}</text>')


def main() -> None:
    """Print the picture."""
    top, bottom = 70, 70 + ROW * len(layers()) + 40
    print('\n'.join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 60}">', STYLE,
        '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
        f'<text class="title" x="{WIDTH / 2}" y="30">Which folder of samg_ros imports which</text>',
        *folder_part(top),
        f'<text class="title" x="{WIDTH / 2}" y="{bottom - 50}">From camera to command</text>',
        *way_part(bottom), '</svg>']))


if __name__ == '__main__':
    main()
