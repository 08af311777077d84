# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Recipes of the paper, transcribed from their sources, for ``test_recipes.py``.

Each entry names its source:

- ``Sec. 4.2``, ``Table 4a``: the paper. ``Sup. A``, ``Sup. Table 3b``: its supplement.
- ``official``: the official training log of SELFYNet-TSM-R50 on Something-Something V1
  (``tests/data/golden/official_training_log.yml``) and the code of the same commit, for
  values that the paper does not specify.
- ``host``: mmaction2's recipe of TSM, for values that neither specifies.
- ``ours``: no source; our choice.

Nothing here is computed from the configs or the package. Keys are parts of config
names, ``<model>_<GPUs>xb<batch>-<clip>-<epochs>e_<dataset>-rgb.py``.
"""

import copy
import re

# --- Data ---------------------------------------------------------------------------

# For all datasets. Width before height, as in mmcv.
TRAINING = dict(
    resize=(320, 240),  # Sup. A: "240x320"
    scales=(1, 0.875, 0.75, 0.66),  # Sup. A: "random scaling"; values: official
    fixed_crops=13,  # official
    distortion=1,  # official
    crop=224,  # Sup. A
    flip_ratio=0.5,  # Sup. A: "horizontal flipping"; ratio: official
    mean=(123.675, 116.28, 103.53),  # official: ImageNet
    std=(58.395, 57.12, 57.375),  # official: ImageNet
    batch_size=8,  # official: 64; Sup. A: 8 GPUs
)
# Sup. A: 240x320, "crop their centers as 224x224".
CENTER = dict(resize=(320, 240), crop='CenterCrop', size=224)
# flip: Sup. A; on Something-Something, not if the label contains "left" or "right".
# sampling: Sup. A, "segment-based"; Sup. B, "dense".
# clips, views: at test time.
# lists, train, val (folders of the clips), media: ours, docs/data.md.
DATASETS = {
    'sthv1': dict(
        num_classes=174,  # Sec. 4.2
        flip='SelectiveFlip',
        sampling='segments',
        clips=1,  # Table 1: "37 G x 1"
        views=CENTER,
        lists='sthv1/sthv1',
        train='sthv1/rawframes',
        val='sthv1/rawframes',
        media='rawframes',
    ),
    'sthv2': dict(
        num_classes=174,  # Sec. 4.2
        flip='SelectiveFlip',
        sampling='segments',
        clips=1,  # Table 1: "37 G x 1"
        views=CENTER,
        lists='sthv2/sthv2',
        train='sthv2/videos',
        val='sthv2/videos',
        media='videos',
    ),
    'diving48': dict(
        num_classes=48,  # Sec. 4.2
        flip='Flip',
        sampling='segments',
        clips=2,  # Table 2: "77 G x 2"
        views=CENTER,
        lists='diving48/diving48_v1',
        train='diving48/videos',
        val='diving48/videos',
        media='videos',
    ),
    'gym99': dict(
        num_classes=99,  # Sec. 4.2
        flip='Flip',
        sampling='segments',
        clips=1,  # ours: not specified in Table 3
        views=CENTER,
        lists='gym/gym99',
        train='gym/subactions',
        val='gym/subactions',
        media='videos',
    ),
    'gym288': dict(
        num_classes=288,  # Sec. 4.2
        flip='Flip',
        sampling='segments',
        clips=1,  # ours: not specified in Table 3
        views=CENTER,
        lists='gym/gym288',
        train='gym/subactions',
        val='gym/subactions',
        media='videos',
    ),
    'kinetics400': dict(
        num_classes=400,  # Sup. B
        flip='Flip',
        sampling='dense',
        clips=10,  # Sup. B
        # Sup. B: "the strategy of non-local networks [...] 3 crops", each 256x256.
        views=dict(resize=(-1, 256), crop='ThreeCrop', size=256),
        test_batch_size=1,  # host: 30 views at once
        lists='kinetics400/kinetics400',
        train='kinetics400/videos_train',
        val='kinetics400/videos_val',
        media='videos',
    ),
}

# --- Schedules ----------------------------------------------------------------------

# Learning rate at the first iteration of an epoch, from 0; 'last': last iteration.
STEPS = dict(
    epochs=50,  # Sup. A
    rates={  # Sup. A: 0.01, "decayed by 1/10 after 30th and 40th epochs"
        **{0: 0.01, 9: 0.01, 10: 0.01, 20: 0.01, 29: 0.01, 29.99: 0.01},
        **{30: 0.001, 39: 0.001, 39.99: 0.001},
        **{40: 0.0001, 49: 0.0001, 'last': 0.0001},
    },
)
# Sup. A, B: cosine after "the first 10 epochs for gradual warm-up" to 0.01. Warm-up
# starts at a tenth of it: ours.
WARM_UP = {0: 0.001, 1: 0.0019, 5: 0.0055, 9: 0.0091, 10: 0.01}
COSINE_30 = dict(
    epochs=30,  # Sup. A
    rates={**WARM_UP, 15: 0.0085355, 20: 0.005, 25: 0.0014645, 'last': 0},
)
COSINE_40 = dict(
    epochs=40,  # Sup. A
    rates={**WARM_UP, 15: 0.0093301, 25: 0.005, 35: 0.00066987, 'last': 0},
)
COSINE_65 = dict(
    epochs=65,  # Sup. B
    rates={**WARM_UP, 23.75: 0.0085355, 37.5: 0.005, 51.25: 0.0014645, 'last': 0},
)
SGD = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='SGD',  # Sup. A
        lr=0.01,  # Sup. A
        momentum=0.9,  # Sup. A
        nesterov=True,  # official
        weight_decay=5e-4,  # official
    ),
    clip_grad=dict(max_norm=20, norm_type=2),  # official
    # official: weights x1; biases x2 without decay; norms x1 without decay; the last
    # layer is no exception (fc_lr5=False). On Kinetics-400, which the log does not
    # cover, the official code uses x5 and x10 for the last layer; ours: no exception.
    constructor='TSMOptimWrapperConstructor',
    paramwise_cfg=dict(fc_lr5=False),
)

# --- Recipes ------------------------------------------------------------------------

# Frames: 8 or 16, Sec. 4.1 and Sup. A; for FineGym 3 or 8, Table 3.
RECIPES = {
    '8xb8-1x1x8-50e_sthv1': dict(frames=8, schedule=STEPS),
    '8xb8-1x1x16-50e_sthv1': dict(frames=16, schedule=STEPS),
    # Official form: configs for official checkpoints.
    '1x1x8_sthv1': dict(frames=8, schedule=STEPS, official_form=True),
    '8xb8-1x1x8-50e_sthv2': dict(frames=8, schedule=STEPS),
    '8xb8-1x1x16-50e_sthv2': dict(frames=16, schedule=STEPS),
    '8xb8-1x1x16-30e_diving48': dict(frames=16, schedule=COSINE_30),
    '8xb8-1x1x3-40e_gym99': dict(frames=3, schedule=COSINE_40),
    '8xb8-1x1x8-40e_gym99': dict(frames=8, schedule=COSINE_40),
    '8xb8-1x1x3-40e_gym288': dict(frames=3, schedule=COSINE_40),
    '8xb8-1x1x8-40e_gym288': dict(frames=8, schedule=COSINE_40),
    '8xb8-dense-1x1x16-65e_kinetics400': dict(frames=16, schedule=COSINE_65),
}

# --- Networks -----------------------------------------------------------------------

# Sec. 4.1 and Sup. A: (L, U, V) is (5, 9, 9) for 8 frames, (9, 9, 9) for 16.
OFFSETS = {8: (-2, -1, 0, 1, 2), 16: (-4, -3, -2, -1, 0, 1, 2, 3, 4)}
PAST = (-2, -1, 0)  # ours: those of 8 frames that do not look ahead


def selfy(after: str | list[str] = 'res3', frames: int = 8, **changes) -> dict:
    """Return the SELFY block of the paper; after res3: Sup. A."""
    block = dict(type='SELFYBlock', offsets=OFFSETS[frames], window=(9, 9))
    return dict(after=after, block={**block, **changes})


def other(type: str, **options) -> dict:
    """Return another block in the same position."""
    return dict(after='res3', block=dict(type=type, **options))


def chain(type: str, *blocks: str) -> dict:
    """Return a combination of blocks in the same position."""
    return other(type, blocks=[dict(type=block) for block in blocks])


# Tables 1 to 3, Sup. Table 2. None: no block.
NETWORKS = {
    ('tsn-r18', 8): None,
    ('tsm-r18', 8): None,
    ('tsn-r50', 8): None,
    ('tsm-r50', 3): None,
    ('tsm-r50', 8): None,
    ('tsm-r50', 16): None,
    ('selfy-tsn-r18', 8): selfy(),
    ('selfy-tsm-r18', 8): selfy(),
    ('selfy-tsn-r50', 8): selfy(),
    ('selfy-tsm-r50', 8): selfy(),
    ('selfy-tsm-r50', 16): selfy(frames=16),
    # ours, with the shift of online TSM (Lin et al., ICCV 2019): docs/streaming.md
    ('selfy-tsm-causal-r50', 8): selfy(offsets=PAST),
}
# official; compared per layer in tests/test_models/test_official_recipe.py.
OFFICIAL_BLOCK = selfy(
    integration=dict(type='ReleasedIntegration'),
    restoration=dict(type='TransposedConvRestoration'),
    fusion=dict(type='ResidualFusion', relu='after'),
    zero_init_last_norm=True,
)
L0, L1, L3, L5 = (0,), (1,), (-1, 0, 1), (-2, -1, 0, 1, 2)
L7 = (-3, -2, -1, 0, 1, 2, 3)
FC, MLP = dict(type='FCIntegration'), dict(type='MLPIntegration')
KS_CM = dict(type='KernelSoftArgmaxExtraction')
WITH_T = dict(temporal_kernel=3)
# Default recipe of the ablations.
ABLATION = '8xb8-1x1x8-50e_sthv1'
# Rows of the tables, numbered as in metafile.yml: network, block and, if it is not the
# default, recipe.
ABLATIONS = {
    'table4a': [
        ('tsn-r18', None),
        ('tsn-r18', selfy(offsets=L0)),
        ('tsn-r18', selfy(offsets=L1)),
        ('tsn-r18', selfy(offsets=L3)),
        ('tsn-r18', selfy(offsets=L5)),
        ('tsn-r18', selfy(offsets=L7)),
        ('tsm-r18', None),
        ('tsm-r18', selfy(offsets=L0)),
        ('tsm-r18', selfy(offsets=L1)),
        ('tsm-r18', selfy(offsets=L3)),
        ('tsm-r18', selfy(offsets=L5)),
        ('tsm-r18', selfy(offsets=L7)),
    ],
    'table4b': [
        (
            'tsm-r18',
            selfy(extraction=dict(type='SoftArgmaxExtraction'), integration=FC),
        ),
        ('tsm-r18', selfy(extraction=dict(type='MLPExtraction'), integration=FC)),
        ('tsm-r18', selfy(integration=FC)),
        ('tsm-r18', selfy(integration=MLP)),
        ('tsm-r18', selfy()),
    ],
    'table5': [
        ('tsm-r18', other('LocalSelfAttentionBlock')),
        ('tsm-r18', other('NonLocalBlock')),
        ('tsm-r18', other('MultiHeadSelfAttentionBlock')),
        ('tsm-r18', selfy()),
    ],
    'table6': [
        ('tsn-r18', None),
        ('tsn-r18', other('STCB')),
        ('tsn-r18', other('SELFYSBlock')),
        ('tsn-r18', chain('SequentialBlocks', 'STCB', 'STCB')),
        ('tsn-r18', chain('SequentialBlocks', 'SELFYSBlock', 'SELFYSBlock')),
        ('tsn-r18', chain('ParallelBlocks', 'SELFYSBlock', 'STCB')),
        ('tsn-r18', chain('SequentialBlocks', 'SELFYSBlock', 'STCB')),
    ],
    'sup3a': [
        ('tsm-r18', selfy(window=(5, 5))),
        ('tsm-r18', selfy(window=(9, 9))),
        ('tsm-r18', selfy(window=(13, 13))),
        ('tsm-r18', selfy(window=(17, 17))),
    ],
    'sup3b': [
        ('tsm-r18', selfy(after='pool1')),
        ('tsm-r18', selfy(after='res2')),
        ('tsm-r18', selfy(after='res3')),
        ('tsm-r18', selfy(after='res4')),
        ('tsm-r18', selfy(after='res5')),
        ('tsm-r18', selfy(after=['res2', 'res3', 'res4'])),
    ],
    'sup3c': [
        ('tsm-r18', None),
        ('tsm-r18', selfy(fusion=dict(type='ReplacementFusion'))),
        ('tsm-r18', selfy()),
    ],
    'sup3d': [
        ('tsm-r18', selfy(offsets=L3, extraction=WITH_T)),
        ('tsm-r18', selfy(offsets=L5, extraction=WITH_T)),
        ('tsm-r18', selfy(offsets=L7, extraction=WITH_T)),
    ],
    # Sup. C: "we reduce the channel dimension C of appearance feature V to 32"
    'sup3e': [
        (
            'tsm-r18',
            other(
                'LocalSelfAttentionBlock',
                reduced_channels=32,
                # "followed by feature integration layers"; widths: official code
                integration=dict(channels=(64, 64, 64, 64)),
            ),
        ),
        (
            'tsm-r18',
            selfy(
                reduced_channels=32,
                transformation=dict(type='EmbeddedGaussianTransformation'),
            ),
        ),
        ('tsm-r18', selfy(reduced_channels=32)),
    ],
    'sup3f': [
        ('tsm-r18', selfy(offsets=L1, extraction=KS_CM)),
        ('tsm-r18', selfy(offsets=L5, extraction=KS_CM)),
        ('tsm-r18', selfy(offsets=L1)),
        ('tsm-r18', selfy(offsets=L5)),
    ],
    'sup3g': [
        ('tsm-r50', None),
        ('tsm-r50', None, '8xb8-1x1x16-50e_sthv1'),
        ('tsm-r50', other('NonLocalBlock')),
        ('tsm-r50', other('MultiHeadSelfAttentionBlock')),
        ('tsm-r50', selfy()),
    ],
}

# --- Motion benchmark: ours, docs/motion-benchmark.md -------------------------------

SLIM_BLOCK = dict(
    type='SELFYBlock',
    offsets=(-2, -1, 0, 1, 2),
    window=(5, 5),
    reduced_channels=32,
    extraction=dict(channels=(4, 8, 16, 16)),
    integration=dict(channels=(16, 16, 16, 16)),
)
SLIM_RESNET = dict(depth=18, num_segments=8, base_channels=8, strides=(1, 1, 2, 2))
SLIM_TSM_HEAD = dict(
    type='TSMHead',
    num_classes=12,
    in_channels=64,
    num_segments=8,
    dropout_ratio=0,
    init_std=0.01,
    average_clips='prob',
)
SLIM_SLOWONLY = dict(
    type='ResNet3dSlowOnly',
    depth=18,
    base_channels=8,
    lateral=False,
    conv1_kernel=(1, 7, 7),
    conv1_stride_t=1,
    pool1_stride_t=1,
    spatial_strides=(1, 1, 2, 2),
    inflate=(0, 0, 1, 1),
    norm_eval=False,
)
SLIM_I3D_HEAD = dict(
    type='I3DHead',
    num_classes=12,
    in_channels=64,
    dropout_ratio=0,
    init_std=0.01,
    average_clips='prob',
)
SLIM_TIMESFORMER = dict(
    type='TimeSformer',
    num_frames=8,
    img_size=64,
    patch_size=8,
    embed_dims=48,
    num_heads=4,
    num_transformer_layers=4,
    attention_type='divided_space_time',
)
SLIM_TIMESFORMER_HEAD = dict(
    type='TimeSformerHead', num_classes=12, in_channels=48, average_clips='prob'
)
ONE_CYCLE = {0: 1.6e-4, 0.45: 0.00208, 0.9: 0.004, 3.45: 0.002, 'last': 0}
ONE_CYCLE_LOW = {0: 4e-5, 0.45: 0.00052, 0.9: 0.001, 3.45: 0.0005, 'last': 0}
TIMESFORMER = dict(
    backbone=SLIM_TIMESFORMER,
    head=SLIM_TIMESFORMER_HEAD,
    lr=0.001,
    rates=ONE_CYCLE_LOW,
    mean=(127.5, 127.5, 127.5),  # host: TimeSformer
    std=(127.5, 127.5, 127.5),
)
MEAN_AND_STD = dict(mean=TRAINING['mean'], std=TRAINING['std'])
RESNET = dict(head=SLIM_TSM_HEAD, lr=0.004, rates=ONE_CYCLE, **MEAN_AND_STD)
SLOWONLY = dict(
    backbone=SLIM_SLOWONLY,
    head=SLIM_I3D_HEAD,
    lr=0.004,
    rates=ONE_CYCLE,
    **MEAN_AND_STD,
)
MOTION = {
    'tsn-r18-slim': dict(RESNET, backbone=SLIM_RESNET, shift=False),
    'tsm-r18-slim': dict(RESNET, backbone=SLIM_RESNET, shift=True),
    'selfy-tsn-r18-slim': dict(
        RESNET,
        backbone=dict(SLIM_RESNET, selfy=dict(after='res3', block=SLIM_BLOCK)),
        shift=False,
    ),
    'selfy-tsm-r18-slim': dict(
        RESNET,
        backbone=dict(SLIM_RESNET, selfy=dict(after='res3', block=SLIM_BLOCK)),
        shift=True,
    ),
    'selfy-tsm-causal-r18-slim': dict(
        RESNET,
        backbone=dict(
            SLIM_RESNET,
            causal_shift=True,
            selfy=dict(after='res3', block=dict(SLIM_BLOCK, offsets=PAST)),
        ),
        shift=True,
    ),
    'slowonly-r18-slim': SLOWONLY,
    'selfy-slowonly-r18-slim': dict(
        SLOWONLY,
        backbone=dict(
            type='InsertBlocks',
            backbone=SLIM_SLOWONLY,
            blocks=[dict(after='layer2', block=dict(SLIM_BLOCK, scale=0.5))],
            input_shape=(1, 3, 8, 64, 64),
        ),
    ),
    'timesformer-slim': TIMESFORMER,
    'selfy-timesformer-slim': dict(
        TIMESFORMER,
        backbone=dict(
            type='InsertBlocks',
            backbone=SLIM_TIMESFORMER,
            blocks=[
                dict(
                    after='transformer_layers.layers.1',
                    block=dict(SLIM_BLOCK, scale=1),
                    layout='n (h w t) c',
                )
            ],
            input_shape=(1, 3, 8, 64, 64),
        ),
    ),
}

# --- Other hosts: mmaction2's recipe with a block -----------------------------------

# ours: position of the block, by prefix of the name. All blocks use the defaults.
MIXING = {
    'selfy-i3d_': dict(after='layer2', input_shape=(1, 3, 32, 224, 224)),
    'selfy-r2plus1d_': dict(after='layer2', input_shape=(1, 3, 8, 224, 224)),
    'selfy-slowonly_': dict(after='layer2', input_shape=(1, 3, 8, 224, 224)),
    'selfy-swin-': dict(
        after='layers.1',
        layout='n t h w c',
        input_shape=(1, 3, 32, 224, 224),
        # The recipe trains the backbone at a tenth of the rate, but the block is new.
        paramwise=dict(lr_mult=10),
    ),
    'selfy-timesformer_': dict(
        after='transformer_layers.layers.5',
        layout='n (h w t) c',
        input_shape=(1, 3, 8, 224, 224),
    ),
    'selfy-tpn-tsm_': dict(after='layer2'),
    'selfy-tsm_imagenet-pretrained-mobilenetv2_': dict(after='layer3'),
}

# --- Common to all configs ----------------------------------------------------------

HOOKS = [
    dict(type='ClipLengthCheckHook'),
    dict(type='ClassCheckHook'),
    dict(type='CropCheckHook'),
    dict(type='CheckpointCheckHook'),
    dict(type='ScheduleCheckHook'),
    dict(type='WorkDirLockHook'),
    dict(type='ExactResumeHook'),
]
IMPORTS = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
RUNTIME = dict(  # host, except for our hooks
    custom_imports=IMPORTS,
    custom_hooks=HOOKS,
    default_scope='mmaction',
    default_hooks=dict(
        runtime_info=dict(type='RuntimeInfoHook'),
        timer=dict(type='IterTimerHook'),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(
            type='CheckpointHook', interval=1, save_best='auto', max_keep_ckpts=3
        ),
        sampler_seed=dict(type='DistSamplerSeedHook'),
        sync_buffers=dict(type='SyncBuffersHook'),
    ),
    resume=False,
    val_cfg=dict(type='ValLoop'),
    test_cfg=dict(type='TestLoop'),
    # Sup. A: top-1 and top-5 on Something-Something and Diving-48, mean class accuracy
    # on FineGym. AccMetric reports all of them.
    val_evaluator=dict(type='AccMetric'),
    test_evaluator=dict(type='AccMetric'),
)

# === Expected configs ===============================================================


def loop(epochs: int) -> dict:
    return dict(
        type='EpochBasedTrainLoop',
        max_epochs=epochs,
        val_begin=1,  # official: validation after every epoch
        val_interval=1,
    )


def loader(batch_size: int, shuffle: bool, dataset: dict, **options) -> dict:
    sampler = dict(type='DefaultSampler', shuffle=shuffle)
    return dict(batch_size=batch_size, sampler=sampler, dataset=dataset, **options)


def sampling(data: dict, frames: int, split: str) -> list[dict]:
    """Return the steps that sample frames."""
    step = dict(clip_len=1, frame_interval=1, num_clips=frames)
    at_test = {} if split == 'train' else dict(test_mode=True)
    if data['sampling'] == 'dense':
        clips = dict(val=1, test=data['clips'])  # validation with one clip: ours
        if split != 'train':
            step['num_sample_positions'] = clips[split]
        return [dict(type='DenseSampleFrames', **step, **at_test)]
    if split == 'test' and data['clips'] == 2:
        step['twice_sample'] = True
    return [
        dict(type='SampleFrames', **step, **at_test),
        dict(type='ShortClips', **at_test),  # official: for fewer frames than segments
    ]


def pipeline(data: dict, frames: int, split: str) -> list[dict]:
    decoder = dict(rawframes='RawFrame', videos='Decord')[data['media']]  # ours
    steps = [dict(type='DecordInit')] if decoder == 'Decord' else []
    steps += sampling(data, frames, split)
    steps += [dict(type=f'{decoder}Decode')]
    if split == 'train':
        crop = TRAINING['crop']
        steps += [
            dict(type='Resize', scale=TRAINING['resize'], keep_ratio=False),
            dict(
                type='MultiScaleCrop',
                input_size=crop,
                scales=TRAINING['scales'],
                random_crop=False,
                max_wh_scale_gap=TRAINING['distortion'],
                num_fixed_crops=TRAINING['fixed_crops'],
            ),
            dict(type='Resize', scale=(crop, crop), keep_ratio=False),
            dict(type=data['flip'], flip_ratio=TRAINING['flip_ratio']),
        ]
        if data['flip'] == 'SelectiveFlip':
            folder = data['lists'].partition('/')[0]
            steps[-1]['class_names'] = f'data/{folder}/classes.txt'
    else:
        views = data['views'] if split == 'test' else CENTER
        resize = dict(type='Resize', scale=views['resize'])
        if -1 not in views['resize']:  # -1: resizes the short side
            resize['keep_ratio'] = False
        steps += [resize, dict(type=views['crop'], crop_size=views['size'])]
    pack = dict(type='PackActionInputs')
    if split != 'train':
        # ours: clip names, which tools/ensemble.py uses to match dumps
        pack['meta_keys'] = ('img_shape', 'filename', 'frame_dir')
    return [*steps, dict(type='FormatShape', input_format='NCHW'), pack]


def dataset(data: dict, frames: int, split: str) -> dict:
    part = 'train' if split == 'train' else 'val'  # tables.yml: validation set
    media, folder = data['media'], f'data/{data[part]}'
    files = dict(
        rawframes=dict(
            type='CheckedRawframeDataset',
            data_prefix=dict(img=folder),
            filename_tmpl='{:05}.jpg',  # official
        ),
        videos=dict(type='CheckedVideoDataset', data_prefix=dict(video=folder)),
    )[media]
    return dict(
        files,
        ann_file=f'data/{data["lists"]}_{part}_list_{media}.txt',
        num_classes=data['num_classes'],
        pipeline=pipeline(data, frames, split),
        # ours: unreadable clips stop the training
        **(dict(on_unreadable='fail') if part == 'train' else dict(test_mode=True)),
    )


def recognizer(network: str, block: dict | None, recipe: dict, classes: int) -> dict:
    shift, past, depth = re.fullmatch(r'ts([mn])(-causal)?-r(18|50)', network).groups()
    frames = recipe['frames']
    backbone = dict(
        shift=shift == 'm',
        depth=int(depth),
        pretrained=f'torchvision://resnet{depth}',  # Sup. A: "ImageNet pre-trained"
    )
    if backbone['shift'] or block:
        backbone['num_segments'] = frames
    if past:
        backbone['causal_shift'] = True
    if block:
        backbone['selfy'] = OFFICIAL_BLOCK if 'official_form' in recipe else block
    head = dict(
        type='TSMHead',  # host
        num_classes=classes,
        in_channels={'18': 512, '50': 2048}[depth],
        num_segments=frames,
        dropout_ratio=0.5,  # official
        init_std=0.001,  # host
        average_clips='prob',  # Sup. A, B: "average the softmax scores"
    )
    if 'official_form' in recipe:
        head['type'] = 'XavierTSMHead'  # official
        del head['init_std']
    preprocessor = dict(
        type='ActionDataPreprocessor',
        mean=TRAINING['mean'],
        std=TRAINING['std'],
        format_shape='NCHW',
    )
    return dict(
        type='Recognizer2D',
        backbone=backbone,
        cls_head=head,
        data_preprocessor=preprocessor,
    )


def expected_config(key: str, network: str, block: dict | None) -> dict:
    """Return the config for a row of RECIPES and a row of NETWORKS or ABLATIONS.

    ``model.backbone.shift`` stands for the class of the backbone: with or without TSM's
    temporal shift, from this package or from mmaction2.
    """
    recipe, data = RECIPES[key], DATASETS[key.rpartition('_')[2]]
    train, val, test = (
        dataset(data, recipe['frames'], split) for split in ('train', 'val', 'test')
    )
    batch_size = TRAINING['batch_size']
    # official: drops the last, incomplete batch of an epoch
    options = dict(drop_last=True) if 'official_form' in recipe else {}
    return dict(
        RUNTIME,
        model=recognizer(network, block, recipe, data['num_classes']),
        train_dataloader=loader(batch_size, True, train, **options),
        val_dataloader=loader(batch_size, False, val),
        test_dataloader=loader(data.get('test_batch_size', batch_size), False, test),
        test_pipeline=test['pipeline'],  # used by inference_recognizer
        train_cfg=loop(recipe['schedule']['epochs']),
        optim_wrapper=SGD,
        auto_scale_lr=dict(enable=False, base_batch_size=64),  # official
    )


def expected_motion_config(network: str, epochs: int) -> dict:
    """Return the config for a row of MOTION."""
    row = MOTION[network]
    in_3d = row['head']['type'] != 'TSMHead'
    shape = [dict(type='FormatShape', input_format='NCHW')]
    if in_3d:  # 8 clips of 1 frame become 1 clip of 8 frames
        shape = [
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='Transpose', keys=['imgs'], order=(2, 1, 0, 3, 4)),
        ]
    sample = dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8)
    train_pipeline = [
        dict(type='DecordInit'),
        sample,
        dict(type='DecordDecode'),
        dict(type='RandomCrop', size=64),
        *shape,
        dict(type='PackActionInputs'),
    ]
    val_pipeline = [
        dict(type='DecordInit'),
        dict(sample, test_mode=True),
        dict(type='DecordDecode'),
        dict(type='CenterCrop', crop_size=64),
        *shape,
        dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
    ]
    videos = dict(
        type='CheckedVideoDataset',
        data_prefix=dict(video='data/motion/videos'),
        num_classes=12,
    )
    train = dict(videos, ann_file='data/motion/train.txt', pipeline=train_pipeline)
    val = dict(
        videos, ann_file='data/motion/val.txt', pipeline=val_pipeline, test_mode=True
    )
    backbone = row['backbone']
    if 'shift' in row:
        backbone = dict(backbone, shift=row['shift'])
    preprocessor = dict(
        type='ActionDataPreprocessor',
        mean=row['mean'],
        std=row['std'],
        format_shape='NCTHW' if in_3d else 'NCHW',
    )
    return dict(
        RUNTIME,
        model=dict(
            type='Recognizer3D' if in_3d else 'Recognizer2D',
            backbone=backbone,
            cls_head=row['head'],
            data_preprocessor=preprocessor,
        ),
        train_dataloader=loader(12, True, train),
        val_dataloader=loader(12, False, val),
        test_dataloader=loader(12, False, val),
        test_pipeline=val_pipeline,
        train_cfg=loop(epochs),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=row['lr'], weight_decay=0.02),
            clip_grad=dict(max_norm=5),
        ),
        auto_scale_lr=dict(enable=False, base_batch_size=12),
    )


# --- Motion stories: ours, docs/motion-stories.md -----------------------------------

NARROW = (16, 16, 16, 16)
SELFY_S = dict(
    type='SELFYSBlock',
    window=(5, 5),
    reduced_channels=32,
    extraction=dict(channels=(4, 8, 16, 16)),
)
STCB = dict(type='STCB', reduced_channels=32, channels=(8, 8, 8, 8))


def story(after: str | list[str] = 'res3', **changes) -> dict:
    """Return SELFY with changes to the slim block."""
    return dict(after=after, block={**SLIM_BLOCK, **changes})


def story_block(type: str, **options) -> dict:
    """Return another block after res3."""
    return dict(after='res3', block=dict(type=type, **options))


def _conv(**changes) -> dict:
    return dict(channels=(4, 8, 16, 16), **changes)


# What `selfy` of the backbone is, by network: the rows of ABLATIONS, with the widths of
# the slim network, and the windows of 5, 9, 13 and 17 of 14 positions on 8 positions.
STORIES = {
    'tsn-r18-slim': None,
    'tsm-r18-slim': None,
    'selfy-tsn-r18-slim': story(),
    'selfy-tsm-r18-slim': story(),
    **{
        f'selfy-{network}-r18-slim-{name}': story(**changes)
        for network in ('tsn', 'tsm')
        for name, changes in {
            'offset-0': dict(offsets=L0),
            'offset-1': dict(offsets=L1),
            'offsets-within-1': dict(offsets=L3),
            'offsets-within-3': dict(offsets=L7),
            'without-similarity': dict(transformation=dict(type='ConvTransformation')),
        }.items()
    },
    'selfy-tsm-r18-slim-softargmax-fc': story(
        extraction=dict(type='SoftArgmaxExtraction'), integration=FC
    ),
    'selfy-tsm-r18-slim-mlp-fc': story(
        extraction=dict(type='MLPExtraction', channels=NARROW), integration=FC
    ),
    'selfy-tsm-r18-slim-conv-fc': story(integration=FC),
    'selfy-tsm-r18-slim-conv-mlp': story(integration=dict(MLP, channels=NARROW)),
    'local-attention-tsm-r18-slim': story_block(
        'LocalSelfAttentionBlock', window=(5, 5, 5), reduced_channels=32, num_heads=4
    ),
    'non-local-tsm-r18-slim': story_block('NonLocalBlock'),
    'multi-head-attention-tsm-r18-slim': story_block(
        'MultiHeadSelfAttentionBlock', reduction=2, num_heads=2, max_distance=15
    ),
    'stcb-tsn-r18-slim': story_block(**STCB),
    'selfy-s-tsn-r18-slim': story_block(**SELFY_S),
    'stcb-stcb-tsn-r18-slim': story_block('SequentialBlocks', blocks=[STCB, STCB]),
    'selfy-s-selfy-s-tsn-r18-slim': story_block(
        'SequentialBlocks', blocks=[SELFY_S, SELFY_S]
    ),
    'selfy-s-parallel-stcb-tsn-r18-slim': story_block(
        'ParallelBlocks', blocks=[SELFY_S, STCB]
    ),
    'selfy-s-then-stcb-tsn-r18-slim': story_block(
        'SequentialBlocks', blocks=[SELFY_S, STCB]
    ),
    **{
        f'selfy-tsm-r18-slim-window-{side}x{side}': story(window=(side, side))
        for side in (3, 7, 9)
    },
    **{
        f'selfy-tsm-r18-slim-after-{stage}': story(stage)
        for stage in ('pool1', 'res2', 'res4', 'res5')
    },
    'selfy-tsm-r18-slim-after-res2-res3-res4': story(['res2', 'res3', 'res4']),
    'selfy-tsm-r18-slim-without-residual': story(fusion=dict(type='ReplacementFusion')),
    **{
        f'selfy-tsm-r18-slim-kernel-3x3x3-offsets-within-{reach}': story(
            offsets=offsets, extraction=_conv(temporal_kernel=3)
        )
        for reach, offsets in ((1, L3), (2, L5), (3, L7))
    },
    # A quarter of the default, as in the paper.
    'local-attention-tsm-r18-slim-8-channels': story_block(
        'LocalSelfAttentionBlock',
        window=(5, 5, 5),
        reduced_channels=8,
        num_heads=2,
        integration=dict(channels=NARROW),
    ),
    'selfy-tsm-r18-slim-embedded-gaussian-8-channels': story(
        reduced_channels=8, transformation=dict(type='EmbeddedGaussianTransformation')
    ),
    'selfy-tsm-r18-slim-cosine-8-channels': story(reduced_channels=8),
    'selfy-tsm-r18-slim-kernel-softargmax-offset-1': story(
        offsets=L1, extraction=KS_CM
    ),
    'selfy-tsm-r18-slim-kernel-softargmax-offsets-within-2': story(extraction=KS_CM),
    # Not in the paper.
    **{
        f'moss-{name}-{network}-r18-slim': dict(
            after='res3',
            block=dict(
                type='MOSSBlock',
                orders=orders,
                window=(5, 5),
                encoder=dict(
                    reduced_channels=32,
                    extraction=dict(channels=(16,)),
                    integration=dict(channels=(16, 16, 32)),
                ),
            ),
        )
        for network in ('tsn', 'tsm')
        for name, orders in {
            'order-1': (1,),
            'orders-1-2': (1, 2),
            'orders-1-2-3': (1, 2, 3),
        }.items()
    },
}


def expected_stories_config(network: str) -> dict:
    """Return the config for a row of STORIES."""
    selfy = STORIES[network]
    backbone = dict(
        SLIM_RESNET,
        shift='tsm' in network.split('-'),
        pretrained='selfy_mmaction://resnet18-slim-scenes',
    )
    if selfy is not None:
        backbone['selfy'] = selfy
    config = copy.deepcopy(expected_motion_config('tsn-r18-slim', 2))
    config['model']['backbone'] = backbone
    config['model']['cls_head']['num_classes'] = 8
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader']['dataset']
        dataset['num_classes'] = 8
        name = 'train' if split == 'train' else 'val'
        dataset['ann_file'] = f'data/motion-stories/{name}.txt'
        dataset['data_prefix'] = dict(video='data/motion-stories/videos')
        # Only the middle frames of the segments are the same in all orders.
        (sample,) = (s for s in dataset['pipeline'] if s['type'] == 'SampleFrames')
        sample['test_mode'] = True
    config['train_cfg']['val_begin'] = 2
    return config


def expected_scenes_config() -> dict:
    """Return the config that trains the weights that all rows of STORIES start from."""
    config = expected_stories_config('tsn-r18-slim')
    model = config['model']
    model['backbone'].update(num_segments=1, pretrained=None)
    model['cls_head'].update(num_classes=450, num_segments=1)
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        loader['batch_size'] = 96
        dataset = loader['dataset']
        dataset['num_classes'] = 450
        dataset['ann_file'] = 'data/motion-stories/train_scenes.txt'
        (sample,) = (s for s in dataset['pipeline'] if s['type'] == 'SampleFrames')
        sample['num_clips'] = 1
        if split == 'train':
            del sample['test_mode']
            crop = [s['type'] for s in dataset['pipeline']].index('RandomCrop')
            dataset['pipeline'].insert(crop + 1, dict(type='Flip', flip_ratio=0.5))
    config['test_pipeline'] = config['val_dataloader']['dataset']['pipeline']
    config['train_cfg'].update(max_epochs=21, val_begin=21)
    config['auto_scale_lr']['base_batch_size'] = 96
    return config
