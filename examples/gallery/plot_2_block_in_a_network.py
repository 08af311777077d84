"""
A block in a network of another library
=======================================

:func:`~selfy_mmaction.models.insert_blocks` puts a block after any layer of any
PyTorch network. Here it is an EfficientNet-Lite0 for single images from PyPI
(``efficientnet_lite_pytorch``); with timm or torchvision the lines are the same.
"""

import torch
from efficientnet_lite_pytorch import EfficientNet

from selfy_mmaction.models import insert_blocks

network = EfficientNet.from_name('efficientnet-lite0').eval()
clips = torch.randn(2 * 8, 3, 112, 112)  # 2 clips of 8 frames, as a batch of images
with torch.no_grad():
    before = network(clips)
print('scores of each frame:', tuple(before.shape))

# %%
# The network has to be told how many frames make a clip: ``input_shape`` is one clip at
# its input. The rest, such as channels, layout and scale of the matching grid, is found
# out by running it once.

# The features of this layer may be negative, so nothing is cut off at zero.
block = dict(
    type='SELFYBlock',
    zero_init_last_norm=True,
    fusion=dict(type='ResidualFusion', relu='none'),
)
insert_blocks(
    network,
    [dict(after='_blocks.4', block=block)],  # 14x14 positions
    input_shape=(8, 3, 112, 112),
)
print(network.inserted_blocks)

# %%
# With ``zero_init_last_norm``, training starts from the pretrained network: the scores
# are still the same.

with torch.no_grad():
    after_insertion = network(clips)
print('largest difference:', (after_insertion - before).abs().max().item())

# %%
# All parameters of the block get a gradient; the last norm opens first.

network.train()
network(clips).square().mean().backward()
(inserted,) = network.inserted_blocks.values()
print(
    'gradient of the last scale:', inserted.last_norm.weight.grad.abs().sum().item() > 0
)
