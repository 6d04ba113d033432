# SPDX-License-Identifier: Apache-2.0
"""The one OpenGL context of a process, and the one thread that owns it.

An EGL context belongs to the thread that made it current, while ROS executors and vectorised
environments call from whichever thread is free. So every OpenGL call goes to one thread, and any
thread may ask for a frame. All models share the context, each with buffers and textures of its
own: a context a model, as dm_control has it, would compile Mesa's shaders anew, which takes 0.3 to
0.8 s. It is made when the first frame is asked for: a process may still fork before that.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib.util
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from samg_ros.errors import ConfigError, MissingDependencyError

Result = TypeVar('Result')
_BACKENDS = ('egl', 'osmesa', 'glfw')


class _RenderThread:
    """A daemon thread that runs calls in order: it must still serve while the process exits."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = (
            queue.SimpleQueue())
        self._thread = threading.Thread(target=self._serve, name='samg-render', daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            future, function, arguments = self._calls.get()
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001, handed to the caller, who raises it
                future.set_exception(error)
            del future, function, arguments

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        if threading.current_thread() is self._thread:
            return function(*arguments)
        return self.post(function, *arguments).result()

    def post(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        future: Future[Result] = Future()
        self._calls.put((future, function, arguments))
        return future


_thread: _RenderThread | None = None
_thread_lock = threading.Lock()
_forked_after_rendering = False


def _forget_thread_after_fork() -> None:
    global _thread, _thread_lock, _forked_after_rendering
    _forked_after_rendering = _forked_after_rendering or _thread is not None
    _thread = None
    _thread_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_thread_after_fork)


def call_on_render_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function on the thread of all OpenGL calls; return its result or raise its error.

    Raises:
        ConfigError: in a process that was forked after its parent had rendered: OpenGL would hang.
    """
    global _thread
    if _forked_after_rendering:
        raise ConfigError('this process was forked from one that had already rendered, and OpenGL '
                          "cannot follow it; start it with multiprocessing's 'spawn' (gymnasium: "
                          "vector_kwargs={'context': 'spawn'})")
    with _thread_lock:
        if _thread is None:
            _thread = _RenderThread()
    return _thread.call(function, *arguments)


def post_to_render_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Have a function run on the render thread later, between frames.

    For finalisers, which can come in the middle of a frame.
    """
    if _thread is not None:
        _thread.post(function, *arguments)


def prepare_gl() -> None:
    """Make the process ready for OpenGL; call this before dm_control is imported.

    Asks for EGL where neither `MUJOCO_GL` nor a display says otherwise: dm_control reads it once,
    on import, and would try a window first. `samg doctor` and the simulator both come here. And
    loads Triton's library, if there is one, bound to its own symbols: it brings an LLVM, Mesa's
    driver puts another LLVM's symbols in the global scope, and PyTorch's optimisers, which import
    Triton, would then crash the process.

    Raises:
        ConfigError: if the environment asks for what cannot draw.
    """
    backend = os.environ.get('MUJOCO_GL', '').strip().lower()  # dm_control knows small letters only
    if backend or not os.environ.get('DISPLAY'):
        os.environ['MUJOCO_GL'] = backend = backend or 'egl'
        if backend not in _BACKENDS:
            raise ConfigError(f"MUJOCO_GL is '{backend}', which cannot draw; set it to "
                              f'{", ".join(_BACKENDS)}, or not at all')
        platform = os.environ.get('PYOPENGL_PLATFORM', '')
        if platform not in ('', backend) and backend != 'glfw':
            raise ConfigError(f"PYOPENGL_PLATFORM is '{platform}', which does not go with "
                              f'MUJOCO_GL={backend}; unset it')
    _load_triton_apart_from_mesa()


@functools.cache
def _load_triton_apart_from_mesa() -> None:
    if 'triton' in sys.modules or not hasattr(os, 'RTLD_DEEPBIND'):
        return
    triton = importlib.util.find_spec('triton')
    for folder in (triton.submodule_search_locations or ()) if triton else ():
        for library in Path(folder).glob('_C/libtriton*.so'):
            ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)


def check_gl() -> None:
    """Open the OpenGL context that the simulator draws with.

    Raises:
        MissingDependencyError: if there is none with the environment's settings.
    """
    call_on_render_thread(_open_gl)


@functools.cache
def _open_gl() -> Any:
    prepare_gl()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # GLFW warns of what becomes one error here
            from dm_control import _render
            gl = _render.Renderer(max_width=16, max_height=16)  # every model brings its buffer
    except Exception as error:
        raise _missing(error) from error
    atexit.register(call_on_render_thread, gl.free)  # before dm_control's hook, on its own thread
    return gl


def _missing(error: Exception) -> MissingDependencyError:
    return MissingDependencyError(
        f'no OpenGL context can be made ({type(error).__name__}: {error}); install EGL '
        '(Debian: libegl1 libgl1-mesa-dri) and set MUJOCO_GL=egl')


@contextlib.contextmanager
def drawing(context: Any) -> Iterator[None]:
    """OpenGL calls within go to the offscreen buffer of a context that `make_context` returned.

    Use it on the render thread.
    """
    import mujoco
    with _open_gl().make_current():
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
        yield


def make_context(model: Any) -> Any:
    """Return a new `mujoco.MjrContext` for a model, with the qualities that the model names.

    Call it on the render thread.

    Raises:
        MissingDependencyError: if the machine has no usable OpenGL.
    """
    import mujoco
    with _open_gl().make_current():
        try:
            return mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:
            raise _missing(error) from error


def free_context(context: Any) -> None:
    """Free what `make_context` returned; call it on the render thread."""
    with _open_gl().make_current():
        from OpenGL import GL  # chooses its platform on import, as prepare_gl has it
        context.free()
        GL.glGetError()  # freeing a buffer without multisampling leaves a harmless error
