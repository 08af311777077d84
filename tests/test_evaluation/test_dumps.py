# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import pickle
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmaction.registry import METRICS
from mmaction.structures import ActionDataSample

from selfy_mmaction.evaluation.dumps import check_same_clips, load_dump

SCORES = [[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]


def samples(scores: list = SCORES, labels: tuple = (0, 2), **metas) -> list[dict]:
    """Make the samples that the test loop passes to its metrics."""
    made = []
    for index, (score, label) in enumerate(zip(scores, labels, strict=True)):
        sample = ActionDataSample(
            metainfo={key: values[index] for key, values in metas.items()}
        )
        sample.set_gt_label(label).set_pred_score(torch.tensor(score))
        made.append(sample.to_dict())
    return made


def write(path: Path, **kwargs) -> Path:
    """Write a dump with the metric that ``test.py --dump`` uses."""
    metric = METRICS.build(dict(type='DumpResults', out_file_path=str(path)))
    predictions = samples(**kwargs)
    metric.process({}, predictions)
    metric.evaluate(len(predictions))
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / 'scores.pkl'


def test_reads_dumps_of_test_py(path):
    dump = load_dump(write(path, img_shape=[(64, 64)] * 2))
    np.testing.assert_array_equal(dump.scores, np.float32(SCORES))
    np.testing.assert_array_equal(dump.labels, [0, 2])
    assert dump.names == [{}, {}]
    assert dump.holds_probabilities


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_reads_every_pickle_protocol_and_other_arrays(path, protocol):
    found = samples(filename=['a/7.webm', 'a/8.webm'], crop=[np.eye(2), np.float32(3)])
    mmengine.dump(found, str(path), protocol=protocol)
    dump = load_dump(path)
    np.testing.assert_array_equal(dump.scores, np.float32(SCORES))
    assert dump.names == [{'filename': 'a/7.webm'}, {'filename': 'a/8.webm'}]


@pytest.mark.parametrize('scores', [[[1.0, -2.0], [0.5, 0.5]], [[0.3, 0.3]] * 2])
def test_logits_are_not_probabilities(path, scores):
    assert not load_dump(write(path, scores=scores, labels=(0, 1))).holds_probabilities


class _Payload:
    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize('inside_a_tensor', [False, True])
def test_dump_that_would_run_code_is_rejected(path, tmp_path, inside_a_tensor):
    target = tmp_path / 'made_by_the_pickle'
    payload = _Payload(os.mkdir, str(target))
    if inside_a_tensor:
        # torch._load_from_bytes would unpickle this without protection.
        data = pickle.dumps(payload)
        payload = _Payload(torch.storage._load_from_bytes, data)
    path.write_bytes(pickle.dumps([payload]))
    with pytest.raises(pickle.UnpicklingError, match='scores.pkl was not read'):
        load_dump(path)
    assert not target.exists()
    if not inside_a_tensor:
        pickle.loads(path.read_bytes())
        assert target.exists()  # the payload works


@pytest.mark.parametrize('kept', [0.3, 0.9])
def test_truncated_dump_is_rejected(path, kept):
    data = write(path).read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises((ValueError, pickle.UnpicklingError), match='scores.pkl'):
        load_dump(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({}, 'not a list of predictions'),
        ([], 'not a list of predictions'),
        ([dict(pred_score=torch.ones(3))], 'clip 0 is not a dict with pred_score and'),
        (samples([[[0.5, 0.5]]], (0,)), r'pred_score of shape \(1, 2\).*average_clips'),
        (samples([[0.5, float('nan')]], (0,)), 'clip 0 has scores that are not finite'),
        (samples([[1.0, 0.0], [1.0]], (0, 0)), 'clip 1 has 1 scores, but clip 0 has 2'),
        (samples([[1.0, 0.0]], (2,)), 'clip 0 has label 2, but 2 scores'),
        (samples([[1.0, 0.0]], ([0, 1],)), 'clip 0 has 2 labels'),
        (samples([[1j, 0.0]], (0,)), 'clip 0 has pred_score of torch.complex64'),
        ([dict(pred_score=np.ones(3), gt_label=0)], 'pred_score of float64'),
        ([dict(pred_score=[1.0], gt_label=0)], 'pred_score of list'),
    ],
)
def test_malformed_dumps_are_rejected(path, content, message):
    mmengine.dump(content, str(path))
    with pytest.raises(ValueError, match=message):
        load_dump(path)


@pytest.mark.parametrize(
    'label',
    [0.9, 1.0, True, '1', None, [[0], [1, 2]], 2**70, {}]
    + [torch.tensor(label, requires_grad=True) for label in (0.9, [1.0])]
    + [
        torch.ones(1, dtype=torch.bfloat16),
        torch.tensor(1j),
        torch.tensor([True]),
        np.float32(1),
    ],
)
def test_labels_that_are_not_integers_are_rejected(path, label):
    mmengine.dump([dict(pred_score=torch.ones(3), gt_label=label)], str(path))
    with pytest.raises(ValueError, match='clip 0 has gt_label .*expected an integer'):
        load_dump(path)


@pytest.mark.parametrize('label', [1, torch.tensor([1]), np.int64(1), np.array([1])])
def test_integer_types_of_labels(path, label):
    # The score may require a gradient.
    score = torch.tensor([0.25, 0.75], requires_grad=True)
    mmengine.dump([dict(pred_score=score, gt_label=label)], str(path))
    dump = load_dump(path)
    assert dump.labels.tolist() == [1]
    assert dump.scores.tolist() == [[0.25, 0.75]]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(scores=SCORES[:1], labels=(0,)), '2 clips and 1 clips'),
        (dict(scores=[[0.5, 0.5], [1, 0]], labels=(0, 1)), '3 classes and 2 classes'),
        (dict(labels=(0, 1)), 'clip 1 has label 2 and 1'),
        (
            dict(filename=['b/8.mp4', 'b/7.mp4']),
            "clip 0 is 'a/7.webm' and 'b/8.mp4'",
        ),
    ],
)
def test_different_clips_are_rejected(tmp_path, change, message):
    one = load_dump(write(tmp_path / 'one.pkl', filename=['a/7.webm', 'a/8.webm']))
    two = load_dump(write(tmp_path / 'two.pkl', **change))
    with pytest.raises(ValueError, match=f'one.pkl and .*two.pkl.*{message}'):
        check_same_clips([one, one, two])


def test_frames_and_videos_of_the_same_clips_match(tmp_path):
    videos = write(tmp_path / 'one.pkl', filename=['a/7.webm', 'a/8.webm'])
    frames = write(tmp_path / 'two.pkl', frame_dir=['b/7', 'b/8'])
    without_names = write(tmp_path / 'three.pkl')
    check_same_clips([load_dump(path) for path in (videos, frames, without_names)])


def test_folder_names_have_no_extension(tmp_path):
    one = load_dump(write(tmp_path / '1.pkl', frame_dir=['b/run.v1', 'b/run.v2']))
    two = load_dump(write(tmp_path / '2.pkl', frame_dir=['c/run.v1', 'c/run.v2']))
    three = load_dump(write(tmp_path / '3.pkl', filename=['run.v1.mp4', 'run.v2.mp4']))
    other = load_dump(write(tmp_path / '4.pkl', frame_dir=['b/run.v2', 'b/run.v1']))
    check_same_clips([one, two, three])
    with pytest.raises(ValueError, match="clip 0 is 'b/run.v1' and 'b/run.v2'"):
        check_same_clips([one, other])
