# SPDX-License-Identifier: Apache-2.0
"""`samg reference make`: serves the page and opens it in a browser."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from samg_ros.arguments import path_argument, seed, whole
from samg_ros.errors import ConfigError, first_line
from samg_ros.files.pictures import read_picture_bytes
from samg_ros.interruption import on_stop_signals
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.models import load_model
from samg_ros.reference_maker.access import LOOPBACK_NAMES, Guard
from samg_ros.reference_maker.clicks import ClickSegmenter
from samg_ros.reference_maker.pictures import decode_picture
from samg_ros.reference_maker.server import Server
from samg_ros.reference_maker.session import Session
from samg_ros.reference_maker.sources import Source, open_source
from samg_ros.reference_maker.storage import check_place, read_references

LOOPBACK = '127.0.0.1'


def make_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg reference make`."""
    parser.add_argument('inputs', nargs='*', type=path_argument, metavar='INPUT',
                        help='pictures, or one video or bag; more can be opened on the page')
    parser.add_argument('--topic', help='camera topic to take pictures from, live; with a bag, the '
                                        "bag's camera topic")
    parser.add_argument('--out', type=path_argument, default=Path('my_reference'), metavar='DIR',
                        help='folder for the reference; one that is there is loaded, to go on '
                             'from it (default: %(default)s)')
    parser.add_argument('--model', default='mini', help='mask model (default: %(default)s)')
    parser.add_argument('--weights', metavar='FILE',
                        help="its weights, NAME=PATH,NAME=PATH for a pair (the package's)")
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda' (default: %(default)s)")
    parser.add_argument('--seed', type=seed, default=0, help='of the fit when trying it')
    parser.add_argument('--host', default=LOOPBACK, metavar='ADDRESS',
                        help='address to be reached at from other machines, such as a phone; '
                             'without encryption, so only in a network that you trust '
                             '(default: this machine alone)')
    parser.add_argument('--port', type=whole(0, 65535), default=0, help='(default: a free one)')
    parser.add_argument('--no-browser', action='store_true', help='only print the link')


def run_make(args: argparse.Namespace) -> None:
    """Run `samg reference make` until Ctrl-C."""
    check_place(args.out)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listening(args.host, args.port))
        source = _source(args)
        if close := getattr(source, 'close', None):
            stack.callback(close)
        settings = MaskerSettings(seed=args.seed)
        model = load_model(args.model, args.weights)
        Masker(model, settings, args.device)  # checks the device and moves the model there
        session = Session(ClickSegmenter(model, args.device))
        _fill(session, args, source)
        server = Server(session, model, settings, args.device, args.out, source,
                        live=source is not None and hasattr(source, 'status'),
                        model_name=args.model)
        serve(server, listening, args.host, browser=not args.no_browser)


def serve(server: Server, listening: socket.socket, host: str, browser: bool) -> None:
    """Serve a page until the process is asked to end.

    Args:
        server: what is served.
        listening: a bound socket.
        host: address as it was given.
        browser: open the page in one.
    """
    token, port = secrets.token_urlsafe(24), listening.getsockname()[1]
    names = {*LOOPBACK_NAMES}
    if host != LOOPBACK:
        names |= {host, socket.gethostname(), '*'}
    shown = socket.gethostname() if host in ('0.0.0.0', '::') else host
    link = f'http://{shown}:{port}/?token={token}'
    guarded = Guard(server.app(), token, names, port)
    web = uvicorn.Server(uvicorn.Config(guarded, log_level='warning', lifespan='off', ws='none',
                                        server_header=False, timeout_graceful_shutdown=2))
    restore = on_stop_signals(lambda: setattr(web, 'should_exit', True))
    web.capture_signals = contextlib.nullcontext  # type: ignore[assignment]  # ours are set
    print(f'{link}\nOpen this link; its token is needed to open the page. Ctrl-C ends.', flush=True)
    try:
        with _opened(link) if browser else contextlib.nullcontext():
            web.run(sockets=[listening])
    finally:
        restore()
    if server.session.saved_revision != server.session.revision:
        print('What was changed since the last save is not saved.')


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen()  # a browser that comes before the page is ready waits
        except (OSError, OverflowError) as error:
            raise ConfigError(f'--host {host} --port {port}: cannot be used ({first_line(error)}); '
                              'leave --port out to get a free one') from error
        yield listening


@contextlib.contextmanager
def _opened(link: str) -> Iterator[None]:
    """Open a link in a browser, without showing it to who lists this machine's processes."""
    with tempfile.TemporaryDirectory(prefix='samg-') as folder:  # readable by this user alone
        page = Path(folder) / 'open.html'
        page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={link}">')
        threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
        yield


def _source(args: argparse.Namespace) -> Source | None:
    """Return the video, bag or topic that was given."""
    found = [(path, open_source(path, args.topic)) for path in args.inputs]
    sources = [source for _, source in found if source is not None]
    if sources and len(found) > 1:
        raise ConfigError('give one video or bag, or any number of pictures')
    if sources:
        args.inputs = []
        return sources[0]
    if args.topic is None:
        return None
    from samg_ros.reference_maker.live_topic import LiveTopic

    return LiveTopic(args.topic)


def _fill(session: Session, args: argparse.Namespace, source: Source | None) -> None:
    """Load what is in --out, and the pictures that were given."""
    if (args.out / 'image.png').exists():
        references, parts = read_references(args.out)
        for part in parts:
            session.set_part(session.add_part(), *part)
        for place, reference in enumerate(references, 1):
            session.add_reference(reference, args.out.name if place == 1
                                  else f'{args.out.name}/view_{place}')
    session.saved_revision = session.revision
    for path in args.inputs:
        session.add_picture(decode_picture(read_picture_bytes(path), path.name), path.name)
