# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Classify a video with an exported network; needs onnxruntime and opencv-python only.

    python -m selfy_mmaction.run export CONFIG CHECKPOINT network.onnx
    python examples/onnx_runtime.py network.onnx VIDEO

For 2D networks whose test pipeline takes the center of one clip, after a resize to an
exact size or none.
"""

import argparse
import json

import cv2
import numpy as np
import onnxruntime

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('network', help='exported file')
parser.add_argument('video', help='video of any length')
args = parser.parse_args()

session = onnxruntime.InferenceSession(args.network)
about = json.loads(session.get_modelmeta().custom_metadata_map['description'])
_, count, _, height, width = about['input']['shape']
steps = {step['type']: step for step in about['preprocessing']['test_pipeline']}

capture, frames = cv2.VideoCapture(args.video), []
while (read := capture.read())[0]:
    frames.append(read[1][..., ::-1])  # BGR to RGB
step = len(frames) / count
clip = [frames[int((index + 0.5) * step)] for index in range(count)]
if 'Resize' in steps:
    clip = [cv2.resize(frame, steps['Resize']['scale']) for frame in clip]
top = [(clip[0].shape[0] - height) // 2, (clip[0].shape[1] - width) // 2]
clip = np.stack(clip)[:, top[0] : top[0] + height, top[1] : top[1] + width]

inputs = {'frames': clip.transpose(0, 3, 1, 2)[None]}  # (1, T, 3, H, W), uint8
(probabilities,) = session.run(None, inputs)
for label in np.argsort(-probabilities[0])[:5]:
    print(f'{probabilities[0, label]:8.2%}  {about["classes"][label]}')
