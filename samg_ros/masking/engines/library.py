# SPDX-License-Identifier: Apache-2.0
"""The Python packages of the engines, each of which may be missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from samg_ros.errors import MissingDependencyError


def is_installed(name: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # sys.modules has None in its place
        return False


def library(name: str) -> Any:
    """Return the package of the engine of that name.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    if not is_installed(name):
        raise MissingDependencyError(f"engine '{name}' is not installed; run `pip install {name}`, "
                                     "or take engine 'torch'")
    return importlib.import_module(name)
