"""
See what a block sees
=====================

A block of a trained network is recorded while it looks at a clip. The command line does
the same, and more: ``python -m selfy_mmaction.run visualize VIDEO --out seen``.
"""

# sphinx_gallery_thumbnail_path = 'images/visualize-maps.jpg'

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.visualization.displacement_figure import draw_displacement
from selfy_mmaction.visualization.map_figure import draw_maps
from selfy_mmaction.visualization.recording import record_block

predictor = Predictor()  # the network in this package
clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
recorded, prediction = record_block(predictor, clip, 'sample.mp4')
print('STSS tensor (T, h, w, L, U, V):', recorded.stss.shape)
print(prediction)

# %%
# Where do two positions find themselves in other frames?

draw_maps(recorded, [(3, 4, 2), (3, 3, 5)])

# %%
# The displacement of all positions to the next frame, from the maxima of the maps:

draw_displacement(recorded)
