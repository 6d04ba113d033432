# SPDX-License-Identifier: Apache-2.0
"""What a visual setting changes: colours, background videos, and nuisances (disturbances of the
object, the light and the camera).
"""
