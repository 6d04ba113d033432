# SPDX-License-Identifier: Apache-2.0
"""Running networks in PyTorch, OpenVINO or ONNX Runtime, and exporting them."""
