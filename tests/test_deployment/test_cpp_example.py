# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""examples/cpp, built with the libtorch of the installed torch."""

import shutil
import subprocess
from pathlib import Path

import decord
import numpy as np
import pytest
import torch

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.deployment.exporting import export_network
from selfy_mmaction.inference import predict

EXAMPLE = Path(__file__).parents[2] / 'examples' / 'cpp'
CONFIG = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NETWORK = (CONFIG, 'selfy_mmaction://selfy-tsn-r18-slim-motion')
# Any of each.
PROGRAMS = [('cmake',), ('make', 'ninja'), ('c++', 'g++', 'clang++')]


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    """Build the example."""
    for names in PROGRAMS:
        if not any(map(shutil.which, names)):
            pytest.skip(f'{" or ".join(names)} is not installed')
    build = tmp_path_factory.mktemp('build')
    prefix = f'-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}'
    for command in (['-S', EXAMPLE, '-B', build, prefix], ['--build', build]):
        done = subprocess.run(['cmake', *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / 'classify_video'


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp('network') / 'ñ ü.pt'
    export_network(*NETWORK, path, 'torchscript')
    return path


@pytest.fixture(scope='module')
def frames():
    """All frames of the sample clip, (24, 64, 64, 3)."""
    video = decord.VideoReader(str(SAMPLE_CLIP))
    return np.stack([image.asnumpy()[2:66, 2:66] for image in video])


def refused(*command, **options):
    done = subprocess.run(command, capture_output=True, **options)
    assert done.returncode == 2
    assert not done.stdout
    return done.stderr.decode()


@pytest.mark.slow
def test_classes_and_probabilities_are_those_of_predict(program, network, frames):
    assert subprocess.check_output([program, network]) == b'64x64\n'
    out = subprocess.check_output([program, network, '-'], input=frames.tobytes())
    lines = [line.split() for line in out.decode().splitlines()]
    (prediction,) = predict(str(SAMPLE_CLIP))
    assert [line[1] for line in lines] == [best.name for best in prediction.top]
    found = [float(line[0].rstrip('%')) / 100 for line in lines]
    expected = [best.probability for best in prediction.top]
    assert found == pytest.approx(expected, abs=3e-6)


@pytest.mark.slow
def test_what_it_cannot_read_is_refused(program, network, frames, tmp_path):
    cut = frames.tobytes()[:-1]
    message = refused(program, network, '-', input=cut)
    assert f'{len(cut)} bytes are not whole RGB24 frames of 64x64' in message
    assert '0 bytes' in refused(program, network, '-', input=b'')
    assert 'no.rgb cannot be opened' in refused(program, network, 'no.rgb')
    assert 'no.pt' in refused(program, 'no.pt')
    assert 'usage: ' in refused(program)
    bare = tmp_path / 'bare.pt'
    torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)).save(bare)
    assert 'has no metadata; write it with run export' in refused(program, bare)
    stream = tmp_path / 'stream.pt'
    shape = {'input.shape': 'batch 3 64 64', 'input.dtype': 'uint8'}
    script = torch.jit.load(bare)
    torch.jit.save(script, stream, _extra_files={**shape, 'input.views': ''})
    message = refused(program, stream)
    assert 'expected uint8 frames (batch T 3 H W) with 1 view' in message
