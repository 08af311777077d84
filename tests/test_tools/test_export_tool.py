# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/export.py with the packaged network."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.deployment import exporting
from selfy_mmaction.deployment.runtimes import open_file
from selfy_mmaction.deployment.streaming import StreamingRecognizer
from selfy_mmaction.inference import Predictor, predict

TOOL = Path(__file__).parents[2] / 'tools' / 'export.py'
CONFIG = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NETWORK = [CONFIG, 'selfy_mmaction://selfy-tsn-r18-slim-motion']


def test_packaged_network(run, tmp_path):
    out = run(*NETWORK, tmp_path / 'a.pt', '--format', 'torchscript')
    assert 'batches of 1, 2, 3 clips: largest difference' in out
    assert 'same top-1 for 100% of the results' in out
    assert (tmp_path / 'a.pt').is_file()
    assert (tmp_path / 'a.pt.json').is_file()


WITHOUT_TORCH = """
import runpy, sys
for name in ('torch', 'mmcv', 'mmaction', 'selfy_mmaction'):
    sys.modules[name] = None
runpy.run_path(sys.argv.pop(1), run_name='__main__')
"""


def run_example(name, *args):
    example = TOOL.parents[1] / 'examples' / name
    command = [sys.executable, '-c', WITHOUT_TORCH, example, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_example_with_onnx_runtime(run, tmp_path):
    network = tmp_path / 'a.onnx'
    run(*NETWORK, network)
    (tmp_path / 'a.onnx.json').unlink()  # the file has it, too
    out = run_example('onnx_runtime.py', network, SAMPLE_CLIP)
    first, *others = (line.split() for line in out.splitlines())
    (prediction,) = predict(str(SAMPLE_CLIP))
    best = prediction.top[0]
    assert first[1] == best.name
    # OpenCV and decord decode to slightly different colors.
    assert float(first[0].rstrip('%')) / 100 == pytest.approx(
        best.probability, abs=0.01
    )
    assert len(others) == 4


@pytest.mark.slow
def test_streaming_example(run, tmp_path):
    network = tmp_path / 'a.onnx'
    out = run(*NETWORK, network, '--stream', 'exact', '--average-frames', '8')
    assert 'batches of 1, 2, 3 streams of 18 frames: largest difference' in out
    out = run_example('onnx_streaming.py', network, SAMPLE_CLIP, '--every', '3')
    lines = [line.split() for line in out.splitlines()]
    # 24 frames, of which one of three is taken; the first two wait for others.
    assert [int(line[0]) for line in lines] == [7, 10, 13, 16, 19, 22]
    predictor = Predictor(*NETWORK, device='cpu')
    video = cv2.VideoCapture(str(SAMPLE_CLIP))
    frames = [video.read()[1][2:66, 2:66, ::-1] for _ in range(24)][::3]
    samples = [torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2))]
    clip, _ = predictor.model.data_preprocessor.preprocess(samples, None)
    stream = StreamingRecognizer(predictor.model, 8)
    expected = stream.forward_steps(clip)[0][0].softmax(-1).max(-1)
    names = [predictor.class_names[label] for label in expected.indices]
    assert [line[2] for line in lines] == names
    found = [float(line[1].rstrip('%')) / 100 for line in lines]
    assert found == pytest.approx(expected.values.tolist(), abs=1e-3)


def checkpoint(config, folder):
    """Write the weights of an untrained network."""
    path = folder / 'untrained.pth'
    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(config).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def test_wrong_commands(refused, tmp_path):
    out = tmp_path / 'a.pt'
    assert 'must end in .onnx' in refused(*NETWORK, out)
    format = ('--format', 'torchscript')
    assert "'missing.pth' does not exist" in refused(
        CONFIG, 'missing.pth', out, *format
    )
    assert 'cannot be read' in refused(*NETWORK, out, *format, '--check', TOOL)
    assert '--average-frames needs --stream exact' in refused(
        *NETWORK, out, *format, '--average-frames', '8'
    )
    name = CONFIG.replace('selfy-tsn', 'selfy-tsm').partition('::')[2]
    shifted = TOOL.parents[1] / 'configs' / name
    assert 'ResNetTSMSELFY cannot stream' in refused(
        shifted, checkpoint(shifted, tmp_path), out, *format, '--stream', 'exact'
    )
    assert not out.exists()


def test_a_difference_is_exit_code_1(run, capsys, monkeypatch, tmp_path):
    def differs(*args, **kwargs):
        raise exporting.ComparisonError('a.pt is not written')

    monkeypatch.setattr(exporting, 'export_network', differs)
    with pytest.raises(SystemExit, match='^1$'):
        run(*NETWORK, tmp_path / 'a.pt')
    assert 'error: a.pt is not written' in capsys.readouterr().err


@pytest.mark.slow
def test_example_of_quantization(run, run_script, tmp_path, motion_tiny, capsys):
    onnx = pytest.importorskip('onnx', reason='needs the extra "deploy"')
    network, out = tmp_path / 'a.onnx', tmp_path / 'int8 ñ.onnx'
    run(*NETWORK, network)
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {CONFIG!r}\ntrain_dataloader = dict(dataset=dict(\n'
        f'    ann_file={str(motion_tiny / "train.txt")!r},\n'
        f'    data_prefix=dict(video={str(motion_tiny / "videos")!r})))\n'
    )
    example = TOOL.parents[1] / 'examples' / 'quantize_onnx.py'
    run_script(example, config, network, out, '--clips', 3, '--keep', 'transformation')
    assert f'{out} written: 0.' in capsys.readouterr().out
    assert Path(f'{out}.json').read_text() == Path(f'{network}.json').read_text()
    assert not [path for path in tmp_path.iterdir() if 'partial' in path.name]
    types = [node.op_type for node in onnx.load(out).graph.node]
    assert types.count('DequantizeLinear') > 29 > types.count('Pow') == 3
    weights = onnx.load(out).graph.initializer
    scales = [each for each in weights if each.name.endswith('conv.weight_scale')]
    assert scales
    assert all(len(each.dims) == 1 and each.dims[0] > 1 for each in scales)
    predictor = Predictor(*NETWORK, device='cpu')
    clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
    frames = clip.inputs['inputs'].numpy()[None]
    expected = open_file(network)(frames)
    found = open_file(out)(frames)
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert not np.array_equal(found, expected)
    for words, message in (
        ([out, out], 'must be another file that ends in .onnx'),
        ([tmp_path / 'no.onnx', out], 'no.onnx does not exist; `run export` writes'),
        ([network, out, '--clips', 0], '--clips 0: must be 1 or more'),
        ([network, out, '--keep', 'nothing'], "has no part 'nothing'"),
    ):
        with pytest.raises(SystemExit, match='2'):
            run_script(example, config, *words)
        assert message in capsys.readouterr().err
