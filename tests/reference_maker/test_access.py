# SPDX-License-Identifier: Apache-2.0
"""Who gets in, asked over a real socket as another program, user or site would."""

import http.client
import json
from urllib.parse import urlsplit

import cv2
import pytest

from samg_ros.reference_maker.access import LOOPBACK_NAMES
from tests.reference_maker.conftest import TOKEN, serving


@pytest.fixture
def port(server):
    with serving(server) as port:
        yield port


def ask(port, path='/api/state', method='GET', body=None, token=TOKEN, **headers):
    """Return (status, body) of a request; `host` and others as headers, None leaves one out."""
    sent = {'host': f'127.0.0.1:{port}', 'cookie': token and f'samg-{port}={token}'}
    if method == 'POST':
        sent['x-samg'] = '1'
    sent |= {name.replace('_', '-'): value for name, value in headers.items()}
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
    for name, value in (sent | ({'content-length': str(len(data))} if method == 'POST' else {})
                        ).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(data if method == 'POST' else None)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer


def png(image):
    return cv2.imencode('.png', image[..., ::-1])[1].tobytes()


def test_with_the_token_the_page_is_there(port):
    assert ask(port)[0] == 200
    assert b'Make a reference' in ask(port, '/')[1]


@pytest.mark.parametrize('path', ['/', '/page.js', '/page.css', '/api/state', '/nothing',
                                  '/api/pictures/1/image.jpg', '/?token=wrong'])
@pytest.mark.parametrize('token', [None, 'wrong', '', 'é'.encode().decode('latin-1')])
def test_without_the_token_nobody_gets_anything(port, path, token):
    status, body, _ = ask(port, path, token=token)
    assert status == 403
    assert body.startswith(b'Refused: ') and len(body) < 100


def test_without_the_token_nothing_can_be_changed(port, server, scene):
    assert ask(port, '/api/pictures', 'POST', png(scene[0]), token=None)[0] == 403
    assert not server.session.pictures


def test_the_link_gives_a_strict_cookie_that_scripts_cannot_read(port):
    status, _, answer = ask(port, f'/?token={TOKEN}', token=None)
    cookie = answer.getheader('set-cookie').lower()
    assert status == 200 and 'httponly' in cookie and 'samesite=strict' in cookie


@pytest.mark.parametrize('headers', [
    {'origin': 'http://evil.example'}, {'origin': 'null'}, {'origin': 'http://127.0.0.1:1'},
    {'x_samg': None}, {'sec_fetch_site': 'cross-site'}, {'sec_fetch_site': 'same-site'}])
def test_requests_of_other_sites_are_refused(port, server, scene, headers):
    status, body, _ = ask(port, '/api/pictures', 'POST', png(scene[0]), **headers)
    assert status == 403, body
    assert not server.session.pictures


def test_our_own_page_may(port, server, scene):
    assert ask(port, '/api/pictures', 'POST', png(scene[0]), origin=f'http://127.0.0.1:{port}',
               sec_fetch_site='same-origin')[0] == 200
    assert len(server.session.pictures) == 1


@pytest.mark.parametrize('host', ['evil.example', 'evil.example:{}', '127.0.0.1', '192.168.0.7:{}',
                                  '127.0.0.1.evil.example:{}', ''])
def test_a_name_that_was_made_to_point_here_is_refused(port, host):
    assert ask(port, host=host.format(port))[0] == 403


def test_a_machine_that_serves_others_answers_to_its_addresses_but_not_to_any_name(server):
    with serving(server, [*LOOPBACK_NAMES, 'robot', '*']) as port:
        assert [ask(port, host=f'{name}:{port}')[0] for name in
                ('192.168.0.7', '[fe80::1]', 'robot', 'evil.example')] == [200, 200, 200, 403]
        assert ask(port, host=f'192.168.0.7:{port}', token=None)[0] == 403


@pytest.mark.parametrize('path', [
    '/../../../etc/passwd', '/..%2f..%2f..%2fetc/passwd', '/%2e%2e/%2e%2e/etc/passwd',
    '//etc/passwd', '/static/../server.py', '/server.py', '/api/pictures/../../etc/passwd',
    '/api/pictures/1/../../../../etc/passwd', '/page.js/../../server.py', '/etc/passwd%00.js'])
def test_no_file_of_the_machine_is_readable(port, path):
    status, body, _ = ask(port, path)
    assert status in (400, 404, 405), body
    assert b'root:' not in body and b'import' not in body


def test_names_that_the_page_sends_open_no_file(port):
    status, body, _ = ask(port, '/api/pictures?name=/etc/passwd', 'POST', b'')
    assert status == 400 and json.loads(body)['error'] == (
        '/etc/passwd: the file is empty (0 bytes); choose another')


def test_answers_forbid_frames_and_foreign_content(port):
    _, _, answer = ask(port, '/')
    policy = answer.getheader('content-security-policy')
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert answer.getheader('cross-origin-resource-policy') == 'same-origin'


@pytest.mark.parametrize(('path', 'body', 'said'), [
    ('/api/change', b'{', 'not JSON'), ('/api/change', b'[]', 'Expected `object`, got `array`'),
    ('/api/change', {'revision': 0, 'do': 'dance'}, 'no change that is known'),
    ('/api/change', {'revision': 0, 'do': 'edit', 'picture': [1], 'layer': {}}, 'not there'),
    ('/api/change', {'revision': 0, 'do': 'take frame', 'index': 0}, 'no video'),
    ('/api/change', b' ' * (2**20 + 1), 'more than 1 MB'),
    ('/api/save', {}, 'no picture yet'), ('/api/try', b'x', 'no picture yet')])
def test_what_makes_no_sense_is_said(port, path, body, said):
    status, answer, _ = ask(port, path, 'POST', body)
    assert status == 400 and said in json.loads(answer)['error']


def test_nothing_is_overwritten_without_a_question(port, server, scene):
    ask(port, '/api/pictures', 'POST', png(scene[0]))
    number = server.session.revision
    edit = {'kind': 'box', 'x0': 110, 'y0': 50, 'x1': 250, 'y1': 190}
    change = {'revision': number, 'do': 'edit', 'picture': 1, 'layer': 'object', 'edit': edit}
    assert ask(port, '/api/change', 'POST', change)[0] == 200
    first = json.loads(ask(port, '/api/save', 'POST')[1])
    assert first['saved'] and first['folder'] == str(server.out)
    before = (server.out / 'mask.png').read_bytes()
    undo = change | {'revision': number + 1, 'edit': {'kind': 'stroke', 'points': [[5, 5]],
                                                      'radius': 3, 'add': True}}
    assert ask(port, '/api/change', 'POST', undo)[0] == 200
    assert 'holds a reference already' in json.loads(ask(port, '/api/save', 'POST')[1])['question']
    assert (server.out / 'mask.png').read_bytes() == before
    assert 'folder' in json.loads(ask(port, '/api/save', 'POST', {'overwrite': True})[1])
    assert (server.out / 'mask.png').read_bytes() != before


def test_two_tabs_do_not_undo_each_other(port, server, scene):
    ask(port, '/api/pictures', 'POST', png(scene[0]))
    change = {'revision': 1, 'do': 'point', 'picture': 1, 'x': 3, 'y': 4}
    assert ask(port, '/api/change', 'POST', change)[0] == 200
    status, body, _ = ask(port, '/api/change', 'POST', change | {'x': 9})
    assert status == 409 and 'another tab' in json.loads(body)['error']
    assert json.loads(body)['state']['pictures'][0]['points'] == [[3, 4]]


def test_the_port_is_a_part_of_the_name(port):
    assert urlsplit(f'http://127.0.0.1:{port}').port == port
    assert ask(port, host=f'127.0.0.1:{port + 1}')[0] == 403
