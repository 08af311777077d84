"""
Fine-tune on a small dataset
============================

mmaction2's runner trains the network of the package on four directions of the generated
benchmark: 24 clips, a new classifier, two epochs. The same is done from the command
line with mmaction2's ``train.py`` and ``--cfg-options``.
"""

# sphinx_gallery_thumbnail_path = 'images/confusion.png'

import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.checkpoints import packaged_config
from selfy_mmaction.motion_benchmark import class_names, make_motion

NAME = 'selfy_mmaction://selfy-tsn-r18-slim-motion'
folder = Path(tempfile.mkdtemp())
with redirect_stdout(StringIO()):  # no progress bar
    summary = make_motion(folder / 'clips', 'tiny', workers=1)
print(summary['clips'], 'classes:', class_names('tiny'))

# %%
# The config of the network, with other lists and classes. ``load_from`` starts from all
# weights that fit; ``CheckpointCheckHook`` says which are new.

config = Config.fromfile(packaged_config(NAME))
for split in ('train', 'val', 'test'):
    loader = config[f'{split}_dataloader']
    loader.update(batch_size=6, num_workers=0, persistent_workers=False)
    name = 'train' if split == 'train' else 'val'
    loader.dataset.update(
        ann_file=str(folder / 'clips' / f'{name}.txt'),
        data_prefix=dict(video=str(folder / 'clips' / 'videos')),
        num_classes=4,
    )
config.merge_from_dict(
    {
        'model.cls_head.num_classes': 4,
        'load_from': NAME,
        'train_cfg.max_epochs': 2,
        'optim_wrapper.optimizer.lr': 1e-3,
        'param_scheduler': [],
        'work_dir': str(folder / 'work'),
        'default_hooks.logger.interval': 2,
        'log_level': 'WARNING',
    }
)
runner = Runner.from_cfg(config)
model = runner.train()

# %%
# The loss of each step, as the runner recorded it:

losses = runner.message_hub.get_scalar('train/loss').data[0]
print('loss of the first and the last step:', f'{losses[0]:.2f}, {losses[-1]:.2f}')

# %%
# mmaction2's own test:

metrics = runner.test()
print({name: round(float(value), 3) for name, value in metrics.items()})
