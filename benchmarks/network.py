# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Inference of SELFYNet-TSM over its backbone, TSM.

    python benchmarks/network.py --peer-released ../SELFY

docs/performance.md says how to read the result.
"""

from functools import partial

import torch
from measuring import FORWARD, Candidate, Counts, count_macs, tensor_bytes
from networks import (
    BACKBONE,
    OURS,
    RELEASED,
    build_networks,
    make_clips,
    make_network_parser,
    scores,
)
from running import Case, Settings, run


def build(case: Case, settings: Settings) -> list[Candidate]:
    """The backbone, ours in both forms, and those with the released code's block."""
    clips = make_clips(case, settings).to(settings.dtype)
    candidates = {}
    for name, network in build_networks(case, settings, settings.dtype).items():
        network.eval()
        is_peer = name not in (BACKBONE, OURS, RELEASED)
        forward = torch.no_grad()(partial(scores, network, clips))
        weights = tensor_bytes(*network.state_dict().values())
        if is_peer:
            counts = candidates[RELEASED].counts
        else:
            result = tensor_bytes(forward())
            least = tensor_bytes(clips) + weights + result
            counts = {FORWARD: Counts(count_macs(forward), least)}
        candidates[name] = Candidate(
            name,
            {FORWARD: forward},
            counts,
            same_as=RELEASED if is_peer else None,
            is_peer=is_peer,
            held_bytes=weights + tensor_bytes(clips),
        )
    return list(candidates.values())


def main() -> None:
    """Run the command line."""
    run('network', make_network_parser(__doc__), build)


if __name__ == '__main__':
    main()
