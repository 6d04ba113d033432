# SPDX-License-Identifier: Apache-2.0
import gc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from samg_ros.errors import EmptyMaskError, InvalidInputError, OutputError, ReferenceLoadError
from samg_ros.masking import Reference
from samg_ros.reference_maker.session import (
    MOST_PICTURES,
    OBJECT,
    OutdatedError,
    Session,
)
from samg_ros.reference_maker.storage import Part, read_references, write_references

CLICK = {'kind': 'click', 'x': 180, 'y': 90, 'positive': True}
BOX = {'kind': 'box', 'x0': 110, 'y0': 50, 'x1': 250, 'y1': 190}


def resident_mb():
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS')) / 1024


@pytest.fixture
def marked(session, scene):
    """A session with one picture, its object marked."""
    session.edit(session.add_picture(scene[0], 'photo.png'), OBJECT, BOX)
    return session


def test_a_part_and_points_are_in_the_reference(marked):
    part = marked.add_part()
    marked.edit(1, part, {'kind': 'stroke', 'points': [[180, 120]], 'radius': 10, 'add': True})
    marked.change_point(1, {'x': 170, 'y': 100})
    reference, = marked.references()
    assert len(reference.parts) == 1 and reference.parts[0][120, 180]
    assert reference.points.tolist() == [[170, 100]]
    marked.remove_part(part)
    marked.change_point(1, {'remove': True})
    assert marked.references()[0].parts == () and len(marked.references()[0].points) == 0


def test_a_part_that_one_picture_lacks_is_named(marked, scene):
    second = marked.add_picture(scene[0], 'second.png')
    marked.edit(second, OBJECT, BOX)
    first_part, second_part = marked.add_part(), marked.add_part()
    for key in (first_part, second_part):
        marked.edit(1, key, CLICK)
    assert [len(one.parts) for one in marked.references()] == [2, 0]
    marked.edit(second, second_part, CLICK)
    with pytest.raises(InvalidInputError, match=r"second.png: the part 'part 1'"):
        marked.references()


def test_a_picture_without_a_mask_is_named(marked, scene):
    marked.add_picture(scene[0], 'second.png')
    with pytest.raises(EmptyMaskError, match=r'second.png: the object is not marked'):
        marked.references()


def test_who_saw_an_older_state_changes_nothing(marked):
    before = marked.state()
    with pytest.raises(OutdatedError, match='another tab'):
        marked.changing(marked.revision - 1, lambda: marked.edit(1, OBJECT, CLICK))
    assert marked.state() == before


def test_a_refused_edit_leaves_all_as_it_was(marked):
    before = marked.state()
    for number, layer, value in ((9, OBJECT, CLICK), (1, 'x', CLICK), (1, OBJECT, {'kind': 'x'}),
                                 (1, OBJECT, CLICK | {'x': 999})):
        with pytest.raises(InvalidInputError):
            marked.edit(number, layer, value)
    assert marked.state() == before


def test_there_is_a_limit_of_pictures(session, scene):
    for _ in range(MOST_PICTURES):
        session.add_picture(scene[0][::4, ::4], 'x')
    with pytest.raises(InvalidInputError, match='remove one'):
        session.add_picture(scene[0], 'x')


def test_names_and_colours_of_parts_are_checked(session):
    part = session.add_part()
    session.set_part(part, '  left   arm ', '#112233')
    assert session.parts[part] == Part('left arm', '#112233')
    other = session.add_part()
    for name, colour in (('left arm', '#112233'), ('', '#112233'), ('x' * 41, '#112233'),
                         ('arm', 'red')):
        with pytest.raises(InvalidInputError):
            session.set_part(other, name, colour)


def test_memory_stays_flat_over_500_clicks_and_100_pictures(session, scene):
    image = np.tile(scene[0], (2, 2, 1))
    number = session.add_picture(scene[0][60:180:2, 100:260:2], 'x')  # small, for speed

    def work(clicks, pictures):
        for i in range(clicks):
            session.edit(number, OBJECT, CLICK | {'x': 10 + i % 60, 'y': 30})
            if i % 5 == 4:
                for _ in range(5):
                    session.edit(number, OBJECT, {'kind': 'undo'})
        for _ in range(pictures):
            session.remove_picture(session.add_picture(image, 'y'))
        gc.collect()
        return resident_mb()

    used = [work(50, 10), *(work(500, 100) for _ in range(3))]
    # What is lost with each click grows in every round; the allocator of a process that has done
    # other tests before grows once.
    assert min(after - before for before, after in pairwise(used)) < 32, used


def saved(tmp_path, references, parts=()):
    write_references(tmp_path / 'ref', references, parts)
    return tmp_path / 'ref'


def test_what_is_saved_is_loaded_to_go_on(marked, scene, segmenter, tmp_path):
    marked.set_part(marked.add_part(), 'stripe', '#123456')
    marked.edit(1, next(iter(marked.parts)), {'kind': 'box', 'x0': 148, 'y0': 110, 'x1': 212,
                                             'y1': 128})
    marked.change_point(1, {'x': 170.5, 'y': 100})
    second = marked.add_picture(scene[0][:, ::-1].copy(), 'mirrored')
    marked.edit(second, OBJECT, BOX | {'x0': 70, 'x1': 210})
    written = marked.references()
    folder = saved(tmp_path, written, list(marked.parts.values()))
    loaded, parts = read_references(folder)
    assert parts == [Part('stripe', '#123456')]
    for one, other in zip(written, loaded, strict=True):
        assert (one.image == other.image).all() and (one.mask == other.mask).all()
        assert np.array_equal(one.parts, other.parts) and np.array_equal(one.points, other.points)
    assert Reference.load(folder).points.tolist() == [[170.5, 100]]
    again = Session(segmenter)
    again.set_part(again.add_part(), *parts[0])
    for reference in loaded:
        again.add_reference(reference, 'x')
    assert all((one.mask == other.mask).all() and np.array_equal(one.parts, other.parts)
               for one, other in zip(written, again.references(), strict=True))


def test_saving_again_leaves_nothing_of_before(marked, tmp_path):
    reference, = marked.references()
    folder = saved(tmp_path, [reference, reference])
    assert (folder / 'view_2' / 'image.png').exists()
    saved(tmp_path, [reference])
    assert sorted(path.name for path in folder.iterdir()) == ['image.png', 'mask.png',
                                                              'reference.yaml']
    assert [path.name for path in tmp_path.iterdir()] == ['ref']


def test_files_of_others_are_not_touched(marked, tmp_path):
    (tmp_path / 'ref').mkdir()
    (tmp_path / 'ref' / 'thesis.tex').write_text('x')
    with pytest.raises(ReferenceLoadError, match=r'thesis\.tex'):
        saved(tmp_path, marked.references())
    assert (tmp_path / 'ref' / 'thesis.tex').read_text() == 'x'


def test_a_full_disk_leaves_the_old_reference(marked, tmp_path):
    import resource

    folder = saved(tmp_path, marked.references())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    marked.edit(1, OBJECT, CLICK)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # as a disk with 4 kB left
    try:
        with pytest.raises(OutputError, match='cannot write'):
            saved(tmp_path, marked.references())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ['ref']
