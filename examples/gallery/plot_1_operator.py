"""
The operator: similarities in space and time
============================================

:func:`~selfy_mmaction.ops.self_similarity` is Eq. 1 of the paper: it compares each
position of a clip with its neighbors in the same frame and in other frames. Here the
features are patches of the frames themselves, 5x5 pixels.
"""

import av
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.ops import self_similarity

with av.open(str(SAMPLE_CLIP)) as video:
    frames = np.stack([frame.to_ndarray(format='rgb24') for frame in video.decode()])
frames = frames[::3]  # 8 of 24
features = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
features -= features.mean((0, 2, 3), keepdim=True)
features = F.unfold(features, 5, padding=2).unflatten(2, features.shape[2:])
print('features (N*T, C, H, W):', tuple(features.shape))

# %%
# A neighborhood of 17x17 positions in the previous, the same and the next frame:

stss = self_similarity(
    features, offsets=(-1, 0, 1), window=(17, 17), num_segments=len(frames)
)
print('STSS tensor (N, T, H, W, L, U, V):', tuple(stss.shape))

# %%
# Where does one position find itself? In its own frame in the middle, by definition; in
# the other frames where the texture moved from and to. What is outside the frame or the
# clip has similarity zero.

t, y, x = 4, 53, 30
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout='constrained')
axes[0].imshow(frames[t])
axes[0].plot(x, y, 's', markersize=12, markerfacecolor='none', markeredgecolor='red')
axes[0].set_title(f'frame {t}')
extent = (-8.5, 8.5, 8.5, -8.5)  # the window, in pixels from the position
maps = zip(axes[1:], (-1, 0, 1), stss[0, t, y, x], strict=True)
for ax, offset, similarities in maps:
    image = ax.imshow(similarities, 'coolwarm', vmin=-1, vmax=1, extent=extent)
    ax.set_title(f'in frame {t + offset}')
figure.colorbar(image, ax=axes, label='cosine similarity')
plt.show()

# %%
# The highest similarity of a window is the displacement of a position. SELFY does not
# take it: it learns from all similarities.

best = stss[0, t, y, x, 2].flatten().argmax().item()
print('to the next frame, (rows, columns):', (best // 17 - 8, best % 17 - 8))
