# SPDX-License-Identifier: Apache-2.0
"""`samg reference make` as a process."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from samg_ros.cli import main
from samg_ros.masking import Reference
from samg_ros.reference_maker.storage import write_references


@contextmanager
def started(*arguments):
    """Yield (link, process) of `samg reference make`."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'samg_ros', 'reference', 'make', '--no-browser',
         *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        link = process.stdout.readline().strip()
        assert re.match('http://', link), process.communicate(timeout=30)
        yield link, process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def get(link, path):
    """Return what is there for who has the link."""
    root, token = link.split('/?token=')
    port = root.rpartition(':')[2]
    request = urllib.request.Request(f'{root}{path}', headers={'Cookie': f'samg-{port}={token}'})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def test_it_serves_loads_and_ends_at_ctrl_c(photo, scene, tmp_path):
    out = tmp_path / 'ref'
    Reference(scene[0], scene[1], points=[[180, 120]]).save(out)
    with started(photo, '--out', out) as (link, process):
        assert link.startswith('http://127.0.0.1:')
        state = json.loads(get(link, '/api/state'))
        assert [one['name'] for one in state['pictures']] == ['ref', 'photo.png']
        assert state['pictures'][0]['layers']['object']['area'] == scene[1].sum()
        assert state['pictures'][0]['points'] == [[180, 120]]
        with pytest.raises(urllib.error.HTTPError, match='403'):
            urllib.request.urlopen(link.partition('?')[0], timeout=30)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and errors == ''
        assert 'not saved' in said


def test_frames_of_a_bag_or_video_can_be_chosen(tmp_path):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
    for value in range(5):
        writer.write(np.full((48, 64, 3), 40 * value, np.uint8))
    writer.release()
    with started(path) as (link, _):
        assert json.loads(get(link, '/api/state'))['source'] == {
            'name': 'clip.avi', 'count': 5, 'live': False}
        shown = cv2.imdecode(np.frombuffer(get(link, '/api/frames/3/preview.jpg'), np.uint8), 1)
        assert shown.shape == (48, 64, 3) and abs(float(shown.mean()) - 120) < 4


@pytest.mark.parametrize(('content', 'name', 'said'), [
    (b'hello', 'a.jpg', 'a.jpg: not a picture'), (b'', 'b.png', 'b.png: the file is empty'),
    (b'', 'c.avi', 'c.avi: no frame'), (None, 'd.jpg', 'no such file'),
    (b'', 'e.mcap', 'e.mcap')])
def test_bad_input_is_one_line(tmp_path, capfd, content, name, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(['reference', 'make', '--no-browser', str(tmp_path / name)]) == 2
    shown = capfd.readouterr()
    assert said in shown.err and len(shown.err.splitlines()) == 1 and not shown.out


@pytest.mark.parametrize(('out', 'said'), [
    ('mine', 'holds something that is no reference'), ('mine/notes.txt', 'is a file'),
    ('mine/notes.txt/new', 'is a file'), ('/proc/new', 'cannot write'),
    ('new/' + 'x' * 256, 'File name too long')])
def test_a_place_that_takes_no_reference_is_refused_before_the_work(photo, tmp_path, monkeypatch,
                                                                    capsys, out, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/notes.txt').write_text('mine')
    assert main(['reference', 'make', str(photo), '--no-browser', '--out', out]) == 2
    assert said in capsys.readouterr().err


def test_a_link_to_a_reference_stays_one(scene, tmp_path):
    Reference(scene[0], scene[1]).save(tmp_path / 'there')
    (tmp_path / 'link').symlink_to('there')
    other = Reference(np.rot90(scene[0]).copy(), np.rot90(scene[1]).copy())
    write_references(tmp_path / 'link', [other], [])
    assert (tmp_path / 'link').is_symlink()
    assert np.array_equal(Reference.load(tmp_path / 'there').mask, other.mask)
