# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What exporters see is compared with the loops of Eq. 1."""

import io

import pytest
import torch

from selfy_mmaction.ops import exportable, self_similarity, self_similarity_loops

# (clips, T, C, H, W, offsets, window), as in test_self_similarity.py.
CASES = {
    'plain': (2, 3, 4, 4, 5, (-1, 0, 1), (3, 3)),
    'any set': (1, 5, 3, 3, 4, (3, -2, 0), (5, 3)),
    'one frame': (2, 1, 4, 3, 3, (0,), (3, 3)),
    'window beyond the frame': (1, 2, 3, 2, 3, (-1, 1), (7, 9)),
    'one position': (1, 3, 2, 1, 1, (0, 1), (1, 3)),
    'offset beyond the clip': (1, 2, 3, 3, 2, (0, 5), (3, 1)),
}


def make_feats(case, dtype=torch.float64):
    clips, num_segments, *sizes, offsets, window = case
    torch.manual_seed(0)
    feats = torch.randn(clips * num_segments, *sizes, dtype=dtype)
    return feats, offsets, window, num_segments


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
@pytest.mark.parametrize('has_keys', [False, True])
def test_values(name, similarity, has_keys):
    feats, *options = make_feats(CASES[name])
    keys = torch.randn_like(feats) if has_keys else None
    actual = exportable.self_similarity(feats, keys, *options, 1e-6, similarity)
    expected = self_similarity_loops(feats, *options, 1e-6, similarity, keys)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_half_precision_and_overflow():
    feats, *options = make_feats(CASES['plain'], torch.float16)
    for x in (feats, feats.float() * 1e25):
        actual = exportable.self_similarity(x, None, *options, 1e-6, 'cosine')
        assert actual.dtype == x.dtype
        expected = self_similarity_loops(x.double(), *options)
        torch.testing.assert_close(actual.double(), expected, rtol=1e-3, atol=1e-3)


class Similarities(torch.nn.Module):
    def forward(self, x):
        return self_similarity(x, (-1, 0, 2), (3, 5), num_segments=4)


@pytest.mark.parametrize('exporter', ['export', 'trace'])
def test_exporters_see_plain_operations_for_any_number_of_clips(exporter):
    network, example = Similarities().eval(), torch.randn(2 * 4, 3, 4, 5)
    if exporter == 'export':
        shapes = {'x': {0: 4 * torch.export.Dim('clips')}}
        program = torch.export.export(network, (example,), dynamic_shapes=shapes)
        exported, text = program.module(), str(program.graph)
    else:
        exported = torch.jit.trace(network, example, check_trace=False)
        text = str(exported.inlined_graph)
    assert 'selfy_mmaction::' not in text
    assert 'selfy_mmaction.self' not in text
    # Unless told otherwise, torch.export takes a size of 1 for a constant.
    for clips in (2, 3) if exporter == 'export' else (1, 3):
        x = torch.randn(clips * 4, 3, 4, 5)
        torch.testing.assert_close(exported(x), network(x), rtol=1e-5, atol=1e-6)


def test_eager_and_compiled_networks_use_the_operator(monkeypatch):
    monkeypatch.setattr(exportable, 'self_similarity', None)
    Similarities()(torch.randn(4, 3, 4, 5))
    # Also in a trace that only counts operations.
    with exportable.keeping_operators():
        traced = torch.jit.trace(Similarities(), torch.randn(4, 3, 4, 5))
    assert 'selfy_mmaction::self_similarity' in str(traced.inlined_graph)
    assert not exportable.needs_exportable_operations()


@pytest.mark.parametrize('before_2_7', [False, True])
def test_only_exports_lose_the_operator(monkeypatch, before_2_7):
    if before_2_7:
        traces = exportable._traces_without_dynamo
        monkeypatch.setattr(exportable, '_is_in_torch_export', traces)
    network, example, graphs = Similarities(), torch.randn(4, 3, 4, 5), []

    def backend(module, inputs):
        graphs.append(str(module.graph))
        return module

    torch.compile(network, backend=backend, fullgraph=True)(example)
    assert 'selfy_mmaction.self_similarity' in graphs[0]
    program = torch.export.export(network, (example,), strict=False)
    assert 'selfy_mmaction' not in str(program.graph)


def test_onnx_has_at_most_five_dimensions():
    onnx = pytest.importorskip('onnx')
    from mmaction.utils import register_all_modules

    from selfy_mmaction.models import SELFYBlock

    register_all_modules()
    block = SELFYBlock(4, num_segments=4, window=5, reduced_channels=3).eval()
    program = torch.onnx.export(
        block,
        (torch.randn(2 * 4, 4, 8, 8),),
        dynamic_shapes=({0: 4 * torch.export.Dim('clips')},),
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model)
    ranks = {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in inferred.graph.value_info
    }
    assert len(ranks) > 20
    assert not {name: rank for name, rank in ranks.items() if rank > 5}
    onnxruntime = pytest.importorskip('onnxruntime')
    file = io.BytesIO(model.SerializeToString())
    session = onnxruntime.InferenceSession(file.getvalue())
    x = torch.randn(3 * 4, 4, 8, 8)
    (actual,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        expected = block(x)
    assert expected.std() > 0.01
    torch.testing.assert_close(torch.from_numpy(actual), expected, rtol=1e-4, atol=1e-5)
