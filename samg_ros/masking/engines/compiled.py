# SPDX-License-Identifier: Apache-2.0
"""A model whose networks an engine has compiled, each for the shapes that it is called with.

Any model will do: its encoders are one network, its decoder one for every set of prompts. Batches
are filled up to the next of BATCHES, or divided, so that few sizes are compiled. What cannot be
compiled, or does not give what torch gives, runs in torch and says why.

A call that meets new shapes either waits until its network is compiled, so that the same frames
always give the same bits, or runs in torch until then, so that no frame comes late.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samg_ros.errors import first_line
from samg_ros.masking.engines import cache
from samg_ros.masking.engines.compilation import (
    Engine,
    Network,
    compile_elsewhere,
    compile_here,
)
from samg_ros.masking.engines.networks import Decoder, Encoders, Find, with_tensors
from samg_ros.masking.frames.guidance import working_geometry
from samg_ros.masking.frames.pipeline import find_tensors, similarity_prompt
from samg_ros.masking.geometry import Geometry
from samg_ros.masking.models.base import Encoding, VisionModel
from samg_ros.masking.models.wrapped import WrappedModel
from samg_ros.masking.references.targets import Targets
from samg_ros.masking.settings import MaskerSettings

_LOG = logging.getLogger(__name__)
BATCHES = (1, 2, 4, 8)
WHOLE_SIDE = 128
"""Frames up to this side are prepared in the network; larger ones are resized faster by torch."""
KEPT = 12
"""Compiled networks of a model in memory; each has a copy of its weights."""
FINDS = 6
"""How many of these may be networks from frames to masks, one for each size of frames. Frames of
further sizes get the two networks that do not depend on the size."""

_UNUSED: dict[str, Any] = {
    'fit_weights': True, 'fit_steps': 1, 'seed': 0, 'engine': 'auto', 'dtype': 'float32',
    'cuda_graphs': False, 'second_look': False, 'min_predicted_iou': 0.0}
"""Settings that `find_tensors` does not depend on."""

Call = tuple[Any, ...]
"""Part, kind, and shapes and types of all arguments: each has a compiled network of its own."""


class _Networks:
    """The compiled networks of one set of weights, shared by all its maskers of a process."""

    def __init__(self) -> None:
        self.by_call: dict[Call, Network] = {}
        self.failures: dict[str, str] = {}
        self.waiting: set[Call] = set()
        """Calls whose networks a thread is to compile, or compiles now."""
        self.tasks: deque[Callable[[], object]] = deque()
        """What is left to that thread, which ends when there is nothing."""
        self.lock = threading.Lock()
        """Of the above, held for moments."""
        self.compiling = threading.Lock()
        """Held while a network is compiled."""

    def has_room_for(self, part: str) -> bool:
        """Whether one more network of a part may be compiled."""
        return part != 'all' or sum(
            each[0] == part for each in (*self.by_call, *self.waiting)) < FINDS

    def keep(self, call: Call, network: Network) -> None:
        """Keep a compiled network, and drop the oldest where there are KEPT."""
        with self.lock:
            while len(self.by_call) >= KEPT:
                del self.by_call[next(iter(self.by_call))]
            self.by_call[call] = network

    def work_off(self) -> None:
        """Do the tasks one by one; the process waits for the one in hand when it ends."""
        with contextlib.suppress(IndexError):
            while threading.main_thread().is_alive():
                self.tasks.popleft()()


_SHARED: weakref.WeakValueDictionary[str, _Networks] = weakref.WeakValueDictionary()


class CompiledModel(WrappedModel):
    """A model on the CPU, run by an engine."""

    def __init__(self, model: VisionModel, engine: Engine, weights: str,
                 otherwise: VisionModel, wait: bool = True) -> None:
        """Prepare to compile; that happens at the first call with each shape.

        Args:
            model: in float32, on the CPU.
            engine: that compiles.
            weights: hash of the model's weights.
            otherwise: what runs where it cannot: the model itself, or in half precision.
            wait: whether a call waits until its networks are compiled. If not, the model itself
                runs meanwhile.
        """
        super().__init__(model)
        self._otherwise, self._engine, self._wait = otherwise, engine, wait
        self._key = json.dumps([engine.name, engine.identity, torch.__version__, weights,
                                type(model).__qualname__, _sources_hash(type(model))])
        self._networks = _SHARED.setdefault(self._key, _Networks())

    @property
    def engine_name(self) -> str:
        """As in `MaskerSettings.engine`."""
        return self._engine.name

    @property
    def failures(self) -> dict[str, str]:
        """Part ('all', 'encoders', 'decoder') -> why it runs in torch and not compiled."""
        return dict(self._networks.failures)

    @property
    def compiling(self) -> int:
        """How many networks a thread still has to compile, in whose place torch runs."""
        return len(self._networks.waiting)

    def find_tensors(self, frames: Tensor, geometry: Geometry, targets: Targets,
                     settings: MaskerSettings) -> tuple[Tensor, ...]:
        """Return what the pipeline's does: of a guided model and small maps from one network.

        What is around the networks of `mini` takes as long as a network. Around those of other
        models it hardly counts, and is not compiled. Nor is it where maps are compared at a higher
        resolution than the logits': these are large matrix products, at which torch is faster.
        """
        working = working_geometry(similarity_prompt(self, settings), geometry)
        if self.model.guided and max(working.height, working.width) <= self.mask_size:
            pictures: tuple[Tensor, ...] = (frames,)
            if max(geometry.height, geometry.width) > WHOLE_SIDE:
                prepared, colours = self.prepare(frames)
                pictures = (*prepared, colours)
            used = dataclasses.replace(settings, **_UNUSED)
            tensors: list[Tensor] = []
            shape = with_tensors(targets, tensors.append)
            network = Find(self.model, len(pictures), geometry, shape, used)
            found = self._run('all', (repr(geometry), repr(shape), repr(used)), network,
                              pictures, tuple(tensors))
            if found is not None:
                return found
        return find_tensors(self, frames, geometry, targets, settings)

    def run_encoders(self, *pictures: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """See VisionModel."""
        found = self._run('encoders', (), Encoders(self.model), pictures)
        if found is None:
            return self._otherwise.run_encoders(*pictures)
        count = len(self.feature_maps)
        return found[:count], found[count:]

    def decode(self, encoding: Encoding, points: Tensor, labels: Tensor,
               boxes: Tensor | None = None, mask_logits: Tensor | None = None,
               guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See VisionModel."""
        more = (boxes, mask_logits, guide)
        given = (boxes is not None, mask_logits is not None, guide is not None)
        tensors = (*encoding.embedding, points, labels, *(one for one in more if one is not None))
        decoder = Decoder(self.model, len(encoding.embedding), given)
        found = self._run('decoder', given, decoder, tensors)
        if found is None:
            return self._otherwise.decode(encoding, points, labels, *more)
        logits, predicted_iou = found
        return logits, predicted_iou

    def _run(self, part: str, kind: tuple[Any, ...], network: nn.Module,
             tensors: tuple[Tensor, ...],
             fixed: tuple[Tensor, ...] = ()) -> tuple[Tensor, ...] | None:
        """Return what a network gives for N rows of every tensor; None if it cannot be compiled.

        The fixed tensors follow as they are.
        """
        if part in self._networks.failures:
            return None
        count, portions = len(tensors[0]), []
        for start in range(0, count, BATCHES[-1]):
            rows = tuple(one[start:start + BATCHES[-1]] for one in tensors)
            size = len(rows[0])
            filled = next(batch for batch in BATCHES if batch >= size)
            if filled > size:
                rows = tuple(torch.cat([one, one[-1:].expand(filled - size, *one.shape[1:])])
                             for one in rows)
            compiled = self._compiled(part, kind, network, (*rows, *fixed))
            if compiled is None:
                return None
            portions.append(tuple(one[:size] for one in compiled(*rows, *fixed)))
        if len(portions) == 1:
            return portions[0]
        return tuple(torch.cat(parts) for parts in zip(*portions, strict=True))

    def _compiled(self, part: str, kind: tuple[Any, ...], network: nn.Module,
                  rows: tuple[Tensor, ...]) -> Network | None:
        """Return what runs a network; None if it is not to be compiled."""
        call = (part, kind, *((tuple(one.shape), str(one.dtype)) for one in rows))
        networks = self._networks
        if (found := networks.by_call.get(call)) is not None:
            return found
        with networks.lock:
            if call in networks.waiting:
                if not self._wait:
                    return network
            elif not networks.has_room_for(part):
                return None
            elif not self._wait:
                rows = tuple(one.clone() for one in rows)
                networks.tasks.append(lambda: self._compile(call, network, rows))
                networks.waiting.add(call)
                if len(networks.waiting) == 1:
                    threading.Thread(target=networks.work_off, name='compiler').start()
                return network
        return self._compile(call, network, rows)

    def _compile(self, call: Call, network: nn.Module,
                 rows: tuple[Tensor, ...]) -> Network | None:
        """Return the compiled network of a call, from memory or made now; None if it cannot be."""
        networks, part = self._networks, call[0]
        with networks.compiling:
            if call not in networks.by_call and part not in networks.failures:
                try:
                    networks.keep(call, self._made(call, network, rows))
                except Exception as error:  # noqa: BLE001  # of torch's or the engine's converter
                    networks.failures[part] = first_line(error)[:200]
                    _LOG.warning('%s: its %s cannot be compiled by %s; torch runs it (%s)',
                                 type(self.model).__name__, part, self._engine.name,
                                 networks.failures[part])
            with networks.lock:
                networks.waiting.discard(call)
            return networks.by_call.get(call)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _made(self, call: Call, network: nn.Module, rows: tuple[Tensor, ...]) -> Network:
        part = call[0]
        digest = hashlib.sha256(json.dumps([self._key, call]).encode()).hexdigest()
        name = f'{self._engine.name}-{part}-{digest}.compiled'
        if (data := cache.read(name)) is not None:
            try:
                return self._engine.load(data)
            except RuntimeError as error:
                _LOG.warning("'%s' cannot be loaded (%s); the network is compiled anew",
                             cache.cache_folder() / name, first_line(error))
        example = tuple(one.clone(memory_format=torch.contiguous_format) for one in rows)
        # In a real frame two places may be equally similar, and either be taken.
        generator = torch.Generator().manual_seed(0)
        for one in example[:network.pictures if isinstance(network, Find) else 0]:
            if one.dtype == torch.uint8:
                one.random_(256, generator=generator)
            else:
                one.uniform_(generator=generator)
        if self._wait:
            data, found = compile_here(self._engine, network, example)
        else:
            data = compile_elsewhere(self._engine, network, example)
            found = self._engine.load(data)
        cache.write(name, data)
        return found


@lru_cache(maxsize=8)
def _sources_hash(model: type[VisionModel]) -> str:
    """Return a hash of the code that is compiled, this package's and the class's own.

    Versions of the libraries that have a model's layers are hashed with it.
    """
    digest = hashlib.sha256()
    folder = Path(inspect.getfile(Geometry)).parent
    own = Path(inspect.getfile(model))
    for path in sorted({*folder.rglob('*.py'), *([own] if own.is_file() else [])}):
        digest.update(path.read_bytes())
    for name in ('segment_anything', 'timm', 'transformers'):
        version = getattr(sys.modules.get(name), '__version__', '')
        digest.update(f'{name} {version}'.encode())
    return digest.hexdigest()
