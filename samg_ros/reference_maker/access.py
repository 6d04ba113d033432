# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the page: only who has the token, and no other web site through their browser.

Every user of a machine reaches its loopback interface, so the token is asked for there, too. It is
in the link that is printed; the first visit puts it into a cookie. A page of another site can make
a browser send requests here; these are refused by their Origin, and because such a page cannot set
our header. A name that is made to point to this machine (DNS rebinding) is refused by its Host.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = 'x-samg'
"""That our page sets on every request that changes something. Other sites may not."""
READING = ('GET', 'HEAD')
LOOPBACK_NAMES = ('localhost', '127.0.0.1', '[::1]')
POLICY = {
    'Content-Security-Policy': "default-src 'self'; img-src 'self' data: blob:; "
                               "object-src 'none'; base-uri 'none'; form-action 'none'; "
                               "frame-ancestors 'none'",
    'Cross-Origin-Resource-Policy': 'same-origin', 'Cross-Origin-Opener-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer', 'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store'}


class Guard:
    """ASGI middleware that lets through who has the token, from our own page."""

    def __init__(self, app: ASGIApp, token: str, names: Collection[str], port: int) -> None:
        """Guard an app.

        Args:
            app: what is guarded.
            token: that visitors must have.
            names: hosts by which this machine may be called, without port; addresses of the
                interfaces need not be among them where the server listens on all.
            port: that the server listens on.
        """
        self._app, self._token, self._port = app, token, port
        self._names = {name.lower() for name in names}
        self._cookie = f'samg-{port}'  # browsers do not keep cookies of two ports apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope['type'] == 'lifespan':
            await self._app(scope, receive, send)
            return
        if scope['type'] != 'http':
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is None:
            await self._app(scope, receive, _with_policy(send))
        else:
            await refusal(scope, receive, _with_policy(send))

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is not passed on; None if it is."""
        host = request.headers.get('host', '')
        if not self._is_ours(host):
            return _refused('this machine is not called so; open the link that samg printed')
        given = request.query_params.get('token')
        if given is not None and request.method == 'GET' and request.url.path == '/':
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return _refused('wrong token; open the link that samg printed')
            # Not a redirect: a strict cookie is not sent with one that another page began.
            answer = HTMLResponse('<!doctype html><meta http-equiv="refresh" content="0;url=/">'
                                  '<title>samg</title>')
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite='strict')
            return answer
        cookie = request.cookies.get(self._cookie, '')
        if not secrets.compare_digest(cookie.encode(), self._token.encode()):
            return _refused('no token; open the link that samg printed')
        if request.method not in READING:
            origin = request.headers.get('origin')
            if origin is not None and origin.lower() != f'http://{host.lower()}':
                return _refused('the request comes from another site')
            if HEADER not in request.headers:
                return _refused(f'the header {HEADER} is missing')
        if request.headers.get('sec-fetch-site', 'none') not in ('same-origin', 'none'):
            return _refused('the request comes from another site')
        return None

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.lower().rpartition(':')
        if port != str(self._port):
            return False
        return name in self._names or ('*' in self._names and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip('[]'))
    except ValueError:
        return False
    return True


def _refused(reason: str) -> Response:
    return PlainTextResponse(f'Refused: {reason}.\n', status_code=403)


def _with_policy(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message['type'] == 'http.response.start':
            message['headers'] = [*message.get('headers', []), *(
                (name.lower().encode(), value.encode()) for name, value in POLICY.items())]
        await send(message)
    return with_headers
