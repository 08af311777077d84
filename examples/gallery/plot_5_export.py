"""
Export a network
================

:func:`~selfy_mmaction.deployment.exporting.export_network` writes an ONNX file,
compares it with the network, and only then keeps it. It takes frames as they are
decoded, as uint8, and gives probabilities. The command is
``python -m selfy_mmaction.run export``.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from selfy_mmaction.deployment.exporting import export_network
from selfy_mmaction.deployment.runtimes import open_file

path = Path(tempfile.mkdtemp()) / 'network.onnx'
comparison = export_network(None, None, path)  # the network in this package
print(comparison)

# %%
# Beside it is what a program needs that has neither torch nor this package:

description = json.loads(Path(f'{path}.json').read_text())
print(list(description))
print('classes:', description['classes'][:4], '...')

# %%
# ONNX Runtime runs any number of clips at a time:

network = open_file(path)
shape = description['input']['shape']
clips = np.random.default_rng(0).integers(0, 256, (3, *shape[1:]), np.uint8)
start = time.perf_counter()
probabilities = network(clips)
print(probabilities.shape, probabilities.sum(1), f'{time.perf_counter() - start:.2f} s')
