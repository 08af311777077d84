# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/visualize.py: one run that draws, the others only up to the drawing."""

import base64
import io
import json
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.visualization import image_features, pictures
from selfy_mmaction.visualization.recording import record_block

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'visualize.py'
PACKAGED = 'selfy_mmaction://selfy-tsn-r18-slim-motion'
FILES = {
    *('index.html', 'similarity_maps.png', 'displacement.png', 'channels.png'),
    *('extractions.png', 'grad_cam.png', 'motion.gif'),
}


def config_of(name: str) -> Path:
    return ROOT / 'configs' / 'motion' / f'{name}_1xb12-1x1x8-6e_motion-rgb.py'


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope='module')
def seen(tmp_path_factory) -> tuple[Path, str]:
    """Folder and output of a run of the network in this package on its sample clip."""
    out = tmp_path_factory.mktemp('seen') / 'ü $x$'
    arguments = ['--checkpoint', PACKAGED, '--out', str(out), '--device', 'cpu']
    printed = io.TextIOWrapper(io.BytesIO(), encoding='utf-8')
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, 'argv', [str(TOOL), *arguments])
        runpy.run_path(str(TOOL), run_name='__main__')
    printed.seek(0)
    return out, printed.read()


@pytest.fixture
def drawn(monkeypatch) -> list[dict]:
    """Keep what would be drawn, which takes most of the time."""
    calls = []

    def write(folder, clip, queries, **options) -> Iterator[Path]:
        calls.append(dict(folder=folder, clip=clip, queries=queries, **options))
        (folder / 'index.html').write_text('drawn')
        yield folder / 'index.html'

    monkeypatch.setattr(pictures, 'write_pictures', write)
    return calls


@pytest.fixture
def no_network(monkeypatch) -> None:
    """Fail where a network is built."""
    monkeypatch.setattr(Predictor, '__init__', None)
    monkeypatch.setattr(image_features.ImageFeatures, '__init__', None)


@pytest.fixture(scope='module')
def untrained(tmp_path_factory):
    """Write a checkpoint with random weights; return the options that choose it."""
    folder = tmp_path_factory.mktemp('networks')

    def write(name: str) -> list[object]:
        init_default_scope('mmaction')
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(config_of(name)).model)
        path = folder / f'{name}.pth'
        torch.save(dict(state_dict=model.state_dict()), path)
        return ['--config', config_of(name), '--checkpoint', path, '--device', 'cpu']

    return write


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (96, 80))
    rng = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(rng.integers(0, 255, (80, 96, 3), np.uint8))
    writer.release()
    return path


def decode(data: dict, name: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data[name]), kind)


def test_all_files_are_written(seen):
    out, printed = seen
    assert names_in(out) == FILES
    for name in FILES:
        assert f'{out / name}: {pictures.FILES[name]}\n' in printed
    for name in FILES - {'index.html'}:
        with Image.open(out / name) as image:
            assert image.width > 500, name
            assert getattr(image, 'n_frames', 1) == (8 if name == 'motion.gif' else 1)


def test_page_has_the_values_of_the_operator(seen):
    text = (seen[0] / 'index.html').read_text('utf-8')
    data = json.loads(re.search(r'<script [^>]*id="data">(.*?)</script>', text)[1])
    predictor = Predictor(device='cpu')
    clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
    recorded, prediction = record_block(predictor, clip, SAMPLE_CLIP.name)

    def by_pair(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, 3, 1)[recorded.inside].ravel()

    similarity = data['step'] * decode(data, 'similarity', 'i1')
    np.testing.assert_allclose(similarity, by_pair(recorded.stss), atol=0.51 / 127)
    displacement = data['displacementStep'] * decode(data, 'displacement', '<i2')
    expected = by_pair(recorded.displacement)
    np.testing.assert_allclose(displacement, expected, atol=1e-4)
    assert data['offsets'] == [*recorded.offsets]
    assert data['video'] == SAMPLE_CLIP.name
    for (name, probability), best in zip(data['classes'], prediction.top, strict=True):
        assert name == best.name
        assert probability == pytest.approx(best.probability, abs=1e-5)


def test_second_run_into_the_same_folder(run_script, capsys, seen, drawn, tmp_path):
    out = shutil.copytree(seen[0], tmp_path / 'out')
    run_script(TOOL, '--out', out, '--checkpoint', PACKAGED, '--animation', 'none')
    assert names_in(out) == FILES
    assert (out / 'index.html').read_text() == 'drawn'
    old = 'similarity_maps.png, displacement.png, channels.png, extractions.png, '
    assert f'note: {old}grad_cam.png, motion.gif in {out}: ' in capsys.readouterr().err


def test_interrupt_leaves_complete_files(run_script, capsys, monkeypatch, tmp_path):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(pictures, 'draw_displacement', interrupt)
    with pytest.raises(SystemExit, match='^130$'):
        run_script(TOOL, '--out', tmp_path, '--checkpoint', PACKAGED)
    assert names_in(tmp_path) == {'index.html', 'similarity_maps.png'}
    assert 'interrupted; files so far are complete' in capsys.readouterr().err


def test_network_without_a_block(run, refused, untrained, drawn, tmp_path):
    network = [*untrained('tsn-r18-slim'), '--out', tmp_path]
    assert 'no SELFY block; name a layer' in refused(*network)
    run(*network, '--layer', 'backbone.layer2', '--offsets', -1, 1, '--window', 3, 5)
    (call,) = drawn
    assert call['clip'].stss.shape == (8, 16, 16, 2, 3, 5)
    assert call['clip'].extraction is None
    assert call['explained'][0].clip.maps.shape == (8, 64, 64)


def test_grad_cam_that_nobody_asked_for(run_script, capsys, untrained, drawn, tmp_path):
    """A transformer has no maps for it; the other pictures are drawn."""
    network = [*untrained('selfy-timesformer-slim'), '--out', tmp_path]
    run_script(TOOL, *network)
    assert 'note: no grad_cam.png: ' in capsys.readouterr().err
    assert drawn[0]['explained'] == []
    assert drawn[0]['clip'].stss.shape[:3] == (8, 8, 8)
    with pytest.raises(SystemExit, match='^2$'):
        run_script(TOOL, *network, '--explain', '3')
    assert 'Grad-CAM needs a layer that gives maps' in capsys.readouterr().err
    assert len(drawn) == 1


def test_networks_side_by_side(run, untrained, drawn, tmp_path):
    _, config, _, checkpoint, *_ = untrained('selfy-tsn-r18-slim')
    other = shutil.copy(checkpoint, tmp_path / 'other.pth')
    run(
        *('--config', config, '--checkpoint', checkpoint, '--compare', config, other),
        *('--compare', *untrained('selfy-slowonly-r18-slim')[1:4:2]),
        *('--out', tmp_path, '--explain', '3', '--true-class', '3'),
    )
    (call,) = drawn
    assert [each.name for each in call['explained']] == [
        f'{config.stem} ({checkpoint.name})',
        f'{config.stem} (other.pth)',
        config_of('selfy-slowonly-r18-slim').stem,
    ]
    assert {each.clip.label for each in call['explained']} == {3}
    assert call['true_class'] == '3'


def test_several_views(run, drawn, tmp_path):
    """Frames and maps are those of the first crop of the first clip."""
    base = config_of('selfy-tsn-r18-slim')
    config = Config.fromfile(base)
    steps = config.test_pipeline
    steps[1].twice_sample = True
    steps[3:4] = [
        dict(type='Resize', scale=(-1, 64)),
        dict(type='ThreeCrop', crop_size=64),
    ]
    path = tmp_path / 'views.py'
    path.write_text(
        f'_base_ = {str(base)!r}\n'
        f'test_pipeline = {[dict(step) for step in steps]!r}\n'
        'test_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n'
    )
    video = write_video(tmp_path / 'long.mp4', 32)
    run(video, '--config', path, '--checkpoint', PACKAGED, '--out', tmp_path)
    (call,) = drawn
    clip, explained = call['clip'], call['explained'][0].clip
    inputs = Predictor(path, PACKAGED).pipeline.open(str(video)).read_clip().inputs
    assert len(inputs['inputs']) == 2 * 3 * 8
    np.testing.assert_array_equal(clip.frames, inputs['inputs'][:8].permute(0, 2, 3, 1))
    np.testing.assert_array_equal(clip.frames, explained.frames)
    assert explained.num_views == 6
    assert clip.stss.shape[0] == len(clip.seconds) == 8


def test_fewer_frames_than_wanted(run_script, capsys, drawn, tmp_path):
    video = write_video(tmp_path / 'three.mp4', 3)
    run_script(TOOL, video, '--out', tmp_path)
    assert 'note: 3 frames instead of 8' in capsys.readouterr().err
    assert len(drawn[0]['clip'].frames) == 3
    run_script(TOOL, video, '--out', tmp_path, '--checkpoint', PACKAGED)
    assert (
        'note: 3 frames for a clip of 8: some are repeated' in capsys.readouterr().err
    )


@pytest.fixture
def paths(tmp_path) -> dict[str, object]:
    """Files for wrong arguments."""
    (tmp_path / 'text.pth').write_text('no weights')
    (tmp_path / 'folder').mkdir()
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((64, 64, 3), np.uint8))
    shutil.copy(tmp_path / 'image.png', tmp_path / 'image.mp4')
    return dict(
        folder=tmp_path,
        k=f'--checkpoint {PACKAGED}',
        config=config_of('selfy-tsn-r18-slim'),
        other=config_of('tsn-r18-slim'),
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('none.mp4', "video 'none.mp4' does not exist"),
        ('{folder}', 'is a folder, expected a video'),
        ('{folder}/image.png', 'is an image (PNG), expected a video'),
        ('{folder}/image.mp4', 'is an image (PNG), expected a video'),
        ('--block a', '--block needs --checkpoint'),
        ('--layer a', '--layer needs --checkpoint'),
        ('--explain a', '--explain needs --checkpoint'),
        ('--randomize', '--randomize needs --checkpoint'),
        ('--compare a b', '--compare needs --checkpoint'),
        ('{k} --frames 4', '--frames is for running without --checkpoint'),
        ('{k} --image-weights a', '--image-weights is for running without --check'),
        ('{k} --block a --layer b', '--block and --layer cannot be combined'),
        ('{k} --window 3', '--window needs --layer'),
        ('{k} --offsets 1', '--offsets needs --layer'),
        ('--config {config}', 'config needs a checkpoint'),
        ('--checkpoint {folder}/text.pth', 'needs its config'),
        ('--checkpoint none.pth --config {config}', "'none.pth' does not exist"),
        ('{k} --compare {config} none.pth', "'none.pth' does not exist"),
        ('--window 4', 'window'),
        ('--window 3 3 3', 'window'),
        ('--offsets 1 1', 'offsets'),
        ('--start -1', '--start -1 must be 0 or more'),
        ('--seconds 0', '--seconds 0 must be above 0'),
        ('--frames 1', '--frames must be an integer from 2'),
        ('--frame -1', '--frame must be an integer from 0'),
        ('--query 1,2', "--query '1,2' must be grid, moving or T,X,Y"),
        ('--query grid 1,2,3', "--query 'grid' must be grid, moving or T,X,Y"),
        ('--query a,b,c', "--query 'a,b,c' must be grid, moving or T,X,Y"),
        ('--out {folder}/text.pth', 'text.pth is a file, expected a folder'),
        ('--out {folder}/text.pth/out', 'text.pth/out: a folder that can be written'),
    ],
)
def test_wrong_arguments_before_any_work(
    refused, no_network, paths, monkeypatch, arguments, message
):
    monkeypatch.chdir(paths['folder'])
    found = refused('--out', 'out', *arguments.format(**paths).split())
    assert message in found
    assert not Path('out').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('{folder}/text.mp4', 'text.mp4 cannot be read: '),
        ('--query 99,0,0', 'there is no frame 99'),
        ('--query 1,9999,0', 'is outside the frame'),
        ('--frame 99', '--frame must be an integer from 0 to 7'),
        ('--offsets -20 20', 'offset -20 leads out of the clip, which has 8 frames'),
        ('--start 100', 'start is 100, expected 0 to'),
        ('{k} --block layer9', "no block 'layer9'"),
        ('{k} --layer backbone.layr2', "no layer 'backbone.layr2'"),
        ('{k} --layer backbone.layer2 --offsets 9', 'offset 9 leads out of the clip'),
        ('{k} --cam-layer backbone.layr4', "no layer 'backbone.layr4'"),
        ('{k} --explain walk', "'walk' is not a class of selfy-tsn-r18-slim-motion"),
        ('{k} --true-class walk', "'walk' is not a class of selfy-tsn-r18-slim-motion"),
        ('{k} --query 1,99,0', 'is outside the frame'),
        ('{k} --frame 8', '--frame must be an integer from 0 to 7'),
        ('--config {config} --checkpoint {folder}/text.pth', 'cannot be loaded as a'),
        ('--config {other} --checkpoint ' + PACKAGED, 'selfy-tsn-r18-slim-motion: '),
        ('{k} --compare none.py ' + PACKAGED, 'none.py'),
    ],
)
def test_wrong_arguments_before_the_drawing(refused, drawn, paths, arguments, message):
    (paths['folder'] / 'text.mp4').write_text('no video')
    out = paths['folder'] / 'out'
    found = refused('--out', out, *arguments.format(**paths).split())
    assert message in found
    assert not drawn
    assert not names_in(out)


def test_missing_packages(refused, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'av', None)
    error = refused('--out', tmp_path / 'out', '--animation', 'mp4')
    assert 'PyAV writes MP4 and is not installed; pip install av' in error
    assert not (tmp_path / 'out').exists()
    monkeypatch.setitem(sys.modules, 'efficientnet_lite_pytorch', None)
    error = refused('--out', tmp_path / 'out')
    assert "pip install 'selfy-mmaction[visualize]'" in error
