# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Each attention is compared with its definition in loops."""

import itertools

import pytest
import torch
from mmaction.registry import MODELS
from torch import Tensor, nn


def build(type: str, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(type=type, num_segments=3, **kwargs)).double().eval()


def local(**kwargs) -> nn.Module:
    cfg = dict(in_channels=6, reduced_channels=4, num_heads=2, window=(3, 3, 5))
    return build('LocalSelfAttentionBlock', **{**cfg, **kwargs})


def multi_head(**kwargs) -> nn.Module:
    cfg = dict(in_channels=8, reduction=2, num_heads=2, max_distance=1)
    return build('MultiHeadSelfAttentionBlock', **{**cfg, **kwargs})


def by_position(conv: nn.Module, x: Tensor, num_heads: int) -> Tensor:
    """Apply a 1x1 convolution to (T, C, h, w): (T, h, w, heads, d)."""
    weight = conv.weight.flatten(1)
    return torch.einsum('oc,tcyx->tyxo', weight, x).unflatten(-1, (num_heads, -1))


def attend_loops(query, key, value, neighbors, embedding) -> Tensor:
    """Compute the weighted sum of values per position and head.

    Args:
        query: (T, h, w, heads, d).
        key: (T, h, w, heads, d).
        value: (T, h, w, heads, d).
        neighbors: Function from a position (t, y, x) to the positions of its keys.
        embedding: Function from head, position and key position to a vector of size d.

    Returns:
        (T, h, w, heads*d).
    """
    *size, num_heads, width = query.shape
    out = torch.zeros_like(value)
    for p in itertools.product(*map(range, size)):
        for head in range(num_heads):
            keys = neighbors(p)
            logits = torch.stack(
                [query[p][head] @ (key[r][head] + embedding(head, p, r)) for r in keys]
            )
            weights = (logits / width**0.5).softmax(0)
            out[p][head] = sum(
                weight * value[r][head] for weight, r in zip(weights, keys, strict=True)
            )
    return out.flatten(3)


@pytest.mark.parametrize('size', [(4, 6), (3, 2), (1, 1)])
def test_local_self_attention_matches_its_definition(size):
    block, x = local(), torch.randn(6, 4, *size, dtype=torch.float64)
    tables = block.position.weight.view(2, 3 + 3 + 5, 2).split((3, 3, 5), 1)
    reach = (1, 1, 2)

    def neighbors(p):
        ranges = (
            range(max(i - d, 0), min(i + d, n - 1) + 1)
            for i, d, n in zip(p, reach, (3, *size), strict=True)
        )
        return list(itertools.product(*ranges))

    def embedding(head, p, r):
        return sum(
            table[head, r[i] - p[i] + reach[i]] for i, table in enumerate(tables)
        )

    expected = torch.stack(
        [
            attend_loops(
                *(
                    by_position(layer, clip, 2)
                    for layer in (block.query, block.key, block.value)
                ),
                neighbors,
                embedding,
            )
            for clip in x.split(3)
        ]
    )
    torch.testing.assert_close(block.attend(x), expected)


@pytest.mark.parametrize('size', [(2, 4), (1, 3), (1, 1)])
def test_multi_head_self_attention_matches_its_definition(size):
    block, x = multi_head(), torch.randn(6, 4, *size, dtype=torch.float64)
    tables = block.position.weight.split((5, 3, 3))
    reach = (2, 1, 1)
    positions = list(itertools.product(range(3), *map(range, size)))

    def embedding(head, p, r):
        return sum(
            table[max(-d, min(d, r[i] - p[i])) + d]
            for i, (table, d) in enumerate(zip(tables, reach, strict=True))
        )

    expected = []
    for clip in x.split(3):
        qkv = by_position(block.query_key_value, clip, 6)
        expected.append(
            attend_loops(*qkv.split(2, dim=3), lambda p: positions, embedding)
        )
    expected = torch.cat(expected).permute(0, 3, 1, 2)
    torch.testing.assert_close(block.attend(x), expected)


def test_non_local_matches_its_definition():
    block = build(
        'NonLocalBlock',
        in_channels=4,
        zero_init_last_norm=False,
    )
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(6, 4, 3, 4, dtype=torch.float64)
    layers = block.non_local

    def embed(layer, maps):  # (T, C, h, w) to (T*h*w, C/2)
        conv = layer.conv
        out = torch.einsum('oc,tcyx->tyxo', conv.weight.flatten(1), maps) + conv.bias
        return out.flatten(0, 2)

    embeddings = layers.theta, layers.phi, layers.g
    expected = []
    for clip in x.split(3):
        query, key, value = (embed(layer, clip) for layer in embeddings)
        rows = [
            sum(
                weight * v
                for weight, v in zip(
                    torch.stack([q @ k / 2**0.5 for k in key]).softmax(0),
                    value,
                    strict=True,
                )
            )
            for q in query
        ]
        y = torch.stack(rows).view(3, 3, 4, 2)
        norm = layers.conv_out.norm
        y = torch.einsum('oc,tyxc->toyx', layers.conv_out.conv.weight.flatten(1), y)
        y = y / (1 + norm.eps) ** 0.5
        expected.append(
            clip + y * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
        )
    torch.testing.assert_close(block(x), torch.cat(expected))


@pytest.mark.parametrize('build_block', [local, multi_head])
def test_gradcheck(build_block):
    block = build_block()
    x = torch.randn(3, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = block.position.weight
    assert torch.autograd.gradcheck(lambda x, weight: block.attend(x), (x, weight))


def test_gradcheck_non_local():
    block = build('NonLocalBlock', in_channels=4, zero_init_last_norm=False)
    nn.init.constant_(block.non_local.conv_out.norm.weight, 1)
    x = torch.randn(3, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


@pytest.mark.parametrize('type', ['NonLocalBlock', 'MultiHeadSelfAttentionBlock'])
@pytest.mark.parametrize('zero', [True, False])
def test_starts_as_the_identity(type, zero):
    block = build(type, in_channels=16, zero_init_last_norm=zero)
    x = torch.randn(6, 16, 3, 4, dtype=torch.float64)
    assert torch.equal(block(x), x) is zero
    block.init_weights()
    assert torch.equal(block(x), x) is zero


def test_local_self_attention_can_start_as_the_identity():
    block = local(fusion=dict(relu='none'), zero_init_last_norm=True)
    block.init_weights()
    x = torch.randn(6, 6, 5, 4, dtype=torch.float64)
    assert torch.equal(block(x), x)


def test_table_3e_has_integration_layers():
    block = local(integration=dict(channels=(5, 7)))
    assert [layer.out_channels for layer in block.integration.layers] == [5, 7]
    assert block(torch.randn(3, 6, 5, 4, dtype=torch.float64)).shape == (3, 6, 5, 4)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='LocalSelfAttentionBlock', window=(9, 9)), r'\(L, U, V\).*\(9, 9\)'),
        (dict(type='LocalSelfAttentionBlock', window=(4, 9, 9)), r'odd.*\(4, 9, 9\)'),
        (dict(type='LocalSelfAttentionBlock', window=(5, 9, 8)), r'odd.*\(5, 9, 8\)'),
        (
            dict(type='LocalSelfAttentionBlock', num_heads=3),
            'reduced_channels=128, but got num_heads=3',
        ),
        (
            dict(type='LocalSelfAttentionBlock', zero_init_last_norm=True),
            "zero_init_last_norm=True with fusion=dict.relu='before'",
        ),
        (dict(type='NonLocalBlock', reduction=0), 'reduction .* from 1 to 16, .* 0'),
        (
            dict(type='MultiHeadSelfAttentionBlock', reduction=17),
            'reduction .* from 1 to 16, .* 17',
        ),
        (
            dict(type='MultiHeadSelfAttentionBlock', num_heads=0),
            'num_heads must be an integer .* got 0',
        ),
        (
            dict(type='MultiHeadSelfAttentionBlock', max_distance=-1),
            'max_distance .* -1',
        ),
    ],
)
def test_bad_config(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(in_channels=16, **cfg))
