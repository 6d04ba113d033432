# SPDX-License-Identifier: Apache-2.0
"""Textures of a compiled model in other colours, drawn by MuJoCo as the first ones were."""

from __future__ import annotations

from typing import Any

import numpy as np

from samg_ros.sim.tasks.colours import Colour


def repaint(model: Any, name: str, template: str, *colours: Colour) -> None:
    """Replace a texture of a model; the caller uploads it.

    Args:
        model: `mujoco.MjModel`, changed.
        name: of the texture.
        template: MJCF of a model with a texture of that name and size, with a `{}` for each colour.
        colours: to fill in.
    """
    import mujoco
    xml = template.format(*(' '.join(map(str, colour)) for colour in colours))
    _data(model, name)[:] = _data(mujoco.MjModel.from_xml_string(xml), name)


def _data(model: Any, name: str) -> np.ndarray:
    """Return the bytes of a texture of a `mujoco.MjModel`, as a view."""
    import mujoco
    texture = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, name)
    size = model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture]
    start = model.tex_adr[texture]
    view: np.ndarray = model.tex_data[start:start + size]
    return view
