# SPDX-License-Identifier: Apache-2.0
"""The page's web server: requests to a session and back. Answers are JSON, errors one sentence."""

from __future__ import annotations

import shlex
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from samg_ros.errors import InvalidInputError, SamgError
from samg_ros.files.pictures import data_uri
from samg_ros.files.schema import parse_json
from samg_ros.mask_command import VIDEO_SUFFIXES
from samg_ros.masking import MaskerSettings
from samg_ros.masking.models.base import VisionModel
from samg_ros.reference_maker.pictures import (
    Image,
    decode_picture,
    jpeg,
    limited,
    mask_png,
)
from samg_ros.reference_maker.session import OutdatedError, Session
from samg_ros.reference_maker.sources import Source, VideoFrames, check_index, spread_frames
from samg_ros.reference_maker.storage import check_ours, write_references
from samg_ros.reference_maker.trial import Trial

STATIC = Path(__file__).with_name('static')
FILES = {'': ('index.html', 'text/html'), 'page.css': ('page.css', 'text/css'),
         **{name: (name, 'text/javascript')
            for name in ('page.js', 'canvas.js', 'server.js', 'trial.js')}}
"""Path -> file and type: all that is served besides the API."""
MOST_BYTES = 256 * 2**20
"""Of a picture or video that is sent by the page."""
MOST_JSON_BYTES = 2**20
TRIED_FRAMES = 6
"""Of a video or bag; the page shows them in one look."""
PREVIEW_SIDE = 640
THUMBNAIL_SIDE = 200


@dataclass
class Server:
    """What the requests work on. `lock` is held by whoever works on the session or the model."""

    session: Session
    model: VisionModel
    settings: MaskerSettings
    device: str
    out: Path
    source: Source | None = None
    live: bool = False
    model_name: str = 'mini'

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._trial: tuple[int, Trial] | None = None

    def app(self) -> Starlette:
        """Return the web application, without its guard."""
        def route(path: str, method: str, answer: Callable[[Request, Any], Any],
                  body: str = 'json') -> Route:
            return Route(path, partial(self._answered, answer, body), methods=[method])

        return Starlette(routes=[
            *(Route(f'/{path}', partial(_file, *file), methods=['GET'])
              for path, file in FILES.items()),
            route('/api/state', 'GET', lambda request, _: self.state()),
            route('/api/pictures', 'POST', self.add_picture, 'file'),
            route('/api/pictures/{number:int}/image.jpg', 'GET', self.picture),
            route('/api/pictures/{number:int}/small.jpg', 'GET', self.small_picture),
            route('/api/pictures/{number:int}/masks', 'GET', self.masks),
            route('/api/frames/{index:int}/preview.jpg', 'GET', self.preview),
            route('/api/live', 'GET', lambda request, _: {'status': self._live_status()}),
            route('/api/change', 'POST', self.change),
            route('/api/try', 'POST', self.try_files, 'file'),
            route('/api/try/source', 'POST', self.try_source),
            route('/api/weaknesses', 'POST', self.weaknesses),
            route('/api/save', 'POST', self.save)])

    def state(self) -> dict[str, Any]:
        """Return what the page shows, in plain JSON types."""
        source = self.source and {'name': self.source.name, 'count': self.source.count,
                                  'live': self.live}
        return self.session.state() | {'source': source, 'out': str(self.out),
                                       'model': self.model_name}

    def add_picture(self, request: Request, data: bytes) -> dict[str, Any]:
        """Add the picture in the body."""
        name = request.query_params.get('name', 'picture')[:80]
        number = self.session.add_picture(decode_picture(data, name), name)
        return self.state() | {'shown': number}

    def picture(self, request: Request, _: Any) -> Response:
        """Return a picture's pixels."""
        image = self.session.picture(request.path_params['number']).image
        return Response(jpeg(image), media_type='image/jpeg')

    def small_picture(self, request: Request, _: Any) -> Response:
        """Return a picture's pixels for the list of pictures."""
        image = self.session.picture(request.path_params['number']).image
        return Response(jpeg(limited(image, THUMBNAIL_SIDE), 80), media_type='image/jpeg')

    def masks(self, request: Request, _: Any) -> dict[str, str]:
        """Return the masks of a picture by layer, as data URIs."""
        number = request.path_params['number']
        picture = self.session.picture(number)
        return {key: data_uri('image/png', mask_png(self.session.mask(number, key)))
                for key in picture.layers}

    def preview(self, request: Request, _: Any) -> Response:
        """Return a frame of the source, small."""
        return Response(jpeg(limited(self._frame(request.path_params['index']), PREVIEW_SIDE), 80),
                        media_type='image/jpeg')

    def change(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Apply one change to the references; the request's field `do` names the change."""
        return dict(self.session.changing(body.get('revision'), partial(self._change, body)))

    def _change(self, body: dict[str, Any]) -> dict[str, Any]:
        session, kind = self.session, body.get('do')
        more: dict[str, Any] = {}
        if kind == 'edit':
            value = body.get('edit')
            mask = session.edit(body.get('picture'), body.get('layer'),
                                value if isinstance(value, dict) else {})
            more = {'mask': data_uri('image/png', mask_png(mask))}
        elif kind == 'point':
            session.change_point(body.get('picture'), body)
        elif kind == 'remove picture':
            session.remove_picture(session_number(body))
        elif kind == 'add part':
            more = {'part': session.add_part()}
        elif kind == 'set part':
            if str(body.get('part')) not in session.parts:
                raise InvalidInputError('this part is not there any more')
            session.set_part(str(body.get('part')), str(body.get('name')), str(body.get('colour')))
        elif kind == 'remove part':
            session.remove_part(str(body.get('part')))
        elif kind == 'take frame':
            image = self._frame(body.get('index'))
            assert self.source is not None
            name = self.source.name if self.live else f'{self.source.name} {body.get("index")}'
            more = {'shown': session.add_picture(image, name)}
        else:
            raise InvalidInputError(f'{str(kind)[:40]!r}: is no change that is known')
        return self.state() | more

    def try_files(self, request: Request, data: bytes) -> dict[str, Any]:
        """Look for the object in the picture or video in the body."""
        name = request.query_params.get('name', 'picture')[:80]
        trial = self._fitted()
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            return {'found': [trial.look(decode_picture(data, name), name)]}
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
            file.write(data)
            file.flush()
            video = VideoFrames(Path(file.name), name)
            frames = spread_frames(video, TRIED_FRAMES)
        return {'found': [trial.look(frame, f'{name} {place + 1} of {len(frames)}')
                          for place, frame in enumerate(frames)]}

    def try_source(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Look for the object in frames of the source, or in what the camera sends now."""
        if self.source is None:
            raise InvalidInputError('no video, bag or topic was given on the command line')
        trial = self._fitted()
        if self.live:
            return {'found': [trial.look(self.source.frame(0), self.source.name)]}
        frames = spread_frames(self.source, TRIED_FRAMES)
        return {'found': [trial.look(frame, f'{self.source.name} {place + 1} of {len(frames)}')
                          for place, frame in enumerate(frames)]}

    def weaknesses(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Return what is weak about each picture."""
        found = self._fitted().weaknesses()
        names = [picture.name for picture in self.session.pictures.values()]
        return {'weaknesses': [{'name': name, 'said': said}
                               for name, said in zip(names, found, strict=True)]}

    def save(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Write the references; asks before it overwrites."""
        references = self.session.references()
        if self.out.exists():
            check_ours(self.out)
            if any(self.out.iterdir()) and body.get('overwrite') is not True:
                return {'question': f'{self.out} holds a reference already. Write this one in its '
                                    'place?'}
        write_references(self.out, references, list(self.session.parts.values()))
        self.session.saved_revision = self.session.revision
        folder = shlex.quote(str(self.out.resolve()))
        return self.state() | {'folder': str(self.out.resolve()), 'commands': [
            f'samg mask VIDEO --reference {folder} --out masked',
            f'ros2 run samg_ros perception --ros-args -p reference:={folder}'
            + ''.join(self._more(len(references)))]}

    def _more(self, count: int) -> list[str]:
        if count == 1:
            return []
        views = ', '.join(f"'{self.out.resolve()}/view_{place}'" for place in range(2, count + 1))
        return [f' -p more_references:="[{views}]"']

    def _fitted(self) -> Trial:
        """Return a masker that knows the document as it is now."""
        if self._trial is None or self._trial[0] != self.session.revision:
            trial = Trial(self.model, self.session.references(), self.settings, self.device)
            self._trial = self.session.revision, trial
        return self._trial[1]

    def _frame(self, index: object) -> Image:
        if self.source is None:
            raise InvalidInputError('no video, bag or topic was given on the command line')
        check_index(self.source, index)
        assert isinstance(index, int)
        return self.source.frame(index)

    def _live_status(self) -> str:
        return str(getattr(self.source, 'status', str)()) if self.live else ''

    async def _answered(self, answer: Callable[[Request, Any], Any], kind: str,
                        request: Request) -> Response:
        """Answer a request in a thread, with the lock held."""
        try:
            body = await _body(request, kind)
            found = await run_in_threadpool(self._locked, answer, request, body)
        except OutdatedError as error:
            with self.lock:
                return JSONResponse({'error': str(error), 'state': self.state()}, 409)
        except SamgError as error:
            return JSONResponse({'error': str(error)}, 400)
        return found if isinstance(found, Response) else JSONResponse(found)

    def _locked(self, answer: Callable[[Request, Any], Any], request: Request, body: Any) -> Any:
        with self.lock:
            return answer(request, body)


def session_number(body: dict[str, Any]) -> int:
    """Return the number of the picture that a request is about; -1 if it is none."""
    number = body.get('picture')
    return number if isinstance(number, int) else -1


async def _body(request: Request, kind: str) -> Any:
    """Return the body of a POST request: bytes of a file, or the fields of a JSON object."""
    if request.method != 'POST':
        return None
    most = MOST_BYTES if kind == 'file' else MOST_JSON_BYTES
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise InvalidInputError(f'more than {most // 2**20} MB were sent; choose a smaller '
                                    'file')
        parts.append(part)
    data = b''.join(parts)
    if kind == 'file':
        return data
    return parse_json(data or b'{}', dict[str, Any], 'the request', InvalidInputError)


async def _file(name: str, kind: str, request: Request) -> Response:
    return Response((STATIC / name).read_bytes(), media_type=kind)
