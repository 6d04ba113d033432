# SPDX-License-Identifier: Apache-2.0
"""What segment_anything's mask decoder computes, in the order that costs least.

Its modules hold the weights; their own calls project one frame's cells once for every set of
prompts, although these meet the cells only at the end of the first layer, and copy maps from one
layout to another and back. Here a map stays as it is, rows of cells, and what is common to all sets
of prompts is computed once. The result is the same to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attend(transformer: Any, cells: Tensor, positions: Tensor,
           tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Let prompt tokens and cells attend to each other (arXiv 2304.02643, appendix A).

    Args:
        transformer: segment_anything's TwoWayTransformer.
        cells: (N, P, C) float, or (1, P, C) of a frame that all tokens are about.
        positions: (1, P, C) float, of the cells.
        tokens: (N, T, C) float.

    Returns:
        Tokens (N, T, C) and cells (N, P, C).
    """
    start = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            tokens = layer.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + start
            tokens = tokens + layer.self_attn(placed, placed, tokens)
        tokens = layer.norm1(tokens)
        keys = cells + positions
        tokens = layer.norm2(tokens + _tokens_to_cells(layer.cross_attn_token_to_image,
                                                       tokens + start, keys, cells))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        cells = layer.norm4(cells + _cells_to_tokens(layer.cross_attn_image_to_token, keys,
                                                     tokens + start, tokens))
    found = _tokens_to_cells(transformer.final_attn_token_to_image, tokens + start,
                             cells + positions, cells)
    return transformer.norm_final_attn(tokens + found), cells


def upscaled_logits(upscaling: Any, cells: Tensor, weights: Tensor,
                    grid: tuple[int, ...]) -> Tensor:
    """Return (N, K, 4 h, 4 w) float: weights times the upscaled map.

    Args:
        upscaling: segment_anything's MaskDecoder.output_upscaling.
        cells: (N, h w, C) float.
        weights: (N, K, c) float, of each mask, c being the channels of the upscaled map.
        grid: h, w.
    """
    first, norm, activation, second, last = upscaling
    x = F.layer_norm(_quartered(first, cells), norm.weight.shape, norm.weight, norm.bias, norm.eps)
    x = last(_quartered(second, activation(x)))
    # (row, column) of a cell, of a quarter in it, of a sixteenth in that.
    logits = (x.flatten(1, -2) @ weights.transpose(-1, -2)).unflatten(1, (*grid, 2, 2, 2, 2))
    return logits.permute(0, 7, 1, 3, 5, 2, 4, 6).flatten(5).flatten(2, 4)


def _quartered(layer: nn.ConvTranspose2d, cells: Tensor) -> Tensor:
    """Return (..., 2, 2, c): a 2 x 2 transposed convolution of stride 2 of (..., C) cells."""
    weight = layer.weight.permute(2, 3, 1, 0)
    bias = None if layer.bias is None else layer.bias.repeat(4)
    return F.linear(cells, weight.flatten(0, 2), bias).unflatten(-1, weight.shape[:3])


def _tokens_to_cells(attention: Any, tokens: Tensor, keys: Tensor, cells: Tensor) -> Tensor:
    # Tokens do not see each other here: those of all prompts can ask one frame side by side.
    asked = tokens.reshape(len(cells), -1, tokens.shape[-1])
    query = _token_heads(attention, attention.q_proj, asked)
    key = _cell_heads(attention, attention.k_proj, keys)
    value = _cell_heads(attention, attention.v_proj, cells)
    mixed = torch.softmax(query @ key * query.shape[-1] ** -0.5, dim=-1) @ value.transpose(-1, -2)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2)).reshape(tokens.shape)


def _cells_to_tokens(attention: Any, keys: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
    query = _cell_heads(attention, attention.q_proj, keys)
    key = _token_heads(attention, attention.k_proj, tokens)
    value = _token_heads(attention, attention.v_proj, values)
    shares = torch.softmax(key * key.shape[-1] ** -0.5 @ query, dim=-2)
    mixed = (value.transpose(-1, -2) @ shares).flatten(1, 2)
    layer = attention.out_proj
    return torch.baddbmm(layer.bias, mixed.transpose(-1, -2),
                         layer.weight.T.expand(len(mixed), -1, -1))


def _token_heads(attention: Any, layer: nn.Linear, tokens: Tensor) -> Tensor:
    """Return (N, heads, T, c)."""
    return layer(tokens).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def _cell_heads(attention: Any, layer: nn.Linear, cells: Tensor) -> Tensor:
    """Return (N, heads, c, P): cells as columns, so that heads lie side by side as they are."""
    weight = layer.weight.expand(len(cells), -1, -1)
    return torch.baddbmm(layer.bias[:, None], weight, cells.transpose(-1, -2)) \
        .unflatten(1, (attention.num_heads, -1))
