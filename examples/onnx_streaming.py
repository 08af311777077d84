# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Classify a video after each frame; needs onnxruntime and opencv-python only.

    python -m selfy_mmaction.run export CONFIG CHECKPOINT stream.onnx --stream exact
    python examples/onnx_streaming.py stream.onnx VIDEO

VIDEO is a file, a URL or the number of a camera. For networks whose test pipeline takes
the center of each frame, after a resize to an exact size or none.
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
parser.add_argument(
    '--every',
    type=int,
    default=1,
    metavar='N',
    help='take one of N frames (default: %(default)s)',
)
args = parser.parse_args()
if args.every < 1:
    parser.error('--every must be at least 1')

session = onnxruntime.InferenceSession(args.network)
about = json.loads(session.get_modelmeta().custom_metadata_map['description'])
height, width = about['input']['shape'][2:]
steps = {step['type']: step for step in about['preprocessing']['test_pipeline']}
state = {}
for part in about['stream']['state']:  # zeros before the first frame, for one stream
    shape = [1 if size == 'batch' else size for size in part['shape']]
    state[part['input']] = np.zeros(shape, part['dtype'])

capture = cv2.VideoCapture(int(args.video) if args.video.isdigit() else args.video)
read = number = 0
while (image := capture.read()[1]) is not None:
    read += 1
    if (read - 1) % args.every:
        continue
    number += 1
    frame = image[..., ::-1]  # BGR to RGB
    if 'Resize' in steps:
        frame = cv2.resize(frame, steps['Resize']['scale'])
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    frame = frame[top : top + height, left : left + width].transpose(2, 0, 1)
    # The outputs have the order of the inputs.
    probabilities, *following = session.run(None, {'frame': frame[None], **state})
    state = dict(zip(state, following, strict=True))
    if number > about['stream']['delay']:  # the first results have no meaning
        best = probabilities[0].argmax()
        print(f'{read:6}  {probabilities[0, best]:8.2%}  {about["classes"][best]}')
