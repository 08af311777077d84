# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and memory of a training step of SELFYNet-TSM over those of its backbone, TSM.

    python benchmarks/train_step.py --peer-released ../SELFY

Forward pass, loss, backward pass and a step of SGD with momentum, with and without
activation checkpointing of the block (with_cp). docs/performance.md says how to read
the result.
"""

import torch
import torch.nn.functional as F
from measuring import Candidate, Counts, autocast, count_macs, tensor_bytes
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
from torch import Tensor, nn

WITH_CP = f'{OURS}, with_cp'
STEP = 'training step'


def build(case: Case, settings: Settings) -> list[Candidate]:
    """The backbone, ours in both forms and with_cp, and those with the peers' block."""
    dtype = settings.training_dtype
    clips = make_clips(case, settings).to(dtype)
    networks = build_networks(case, settings, dtype)
    checkpointed = build_networks(case, settings, dtype, with_cp=True)
    networks[WITH_CP] = checkpointed[OURS]
    candidates: dict[str, Candidate] = {}
    for name, network in networks.items():
        is_peer = name not in (BACKBONE, OURS, RELEASED, WITH_CP)
        model = {WITH_CP: OURS}.get(name, RELEASED if is_peer else None)
        counts = None if model is None else candidates[model].counts
        candidates[name] = _candidate(name, network, clips, settings, counts)
        candidates[name].is_peer, candidates[name].same_as = is_peer, model
    return list(candidates.values())


def _candidate(
    name: str,
    network: nn.Module,
    clips: Tensor,
    settings: Settings,
    counts: dict[str, Counts] | None,
) -> Candidate:
    network.train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # so that losses can be compared
    weights = list(network.parameters())
    optimizer = torch.optim.SGD(
        weights, lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    labels = torch.zeros(len(clips), dtype=torch.long, device=clips.device)

    def passes() -> Tensor:
        with autocast(settings.device, settings.dtype):
            loss = F.cross_entropy(scores(network, clips).to(clips.dtype), labels)
        loss.backward()
        return loss

    def step() -> Tensor:
        loss = passes()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    sizes = tensor_bytes(*weights)
    if counts is None:
        # Weights are read twice by the passes; then they, their gradients and their
        # momentum are read, and all but the gradients, written before, written anew.
        counts = {STEP: Counts(count_macs(passes), tensor_bytes(clips) + 8 * sizes)}
        optimizer.zero_grad()
    held = tensor_bytes(clips, *network.state_dict().values()) + sizes  # momentum
    return Candidate(name, {STEP: step}, counts, held_bytes=held)


def main() -> None:
    """Run the command line."""
    run('train_step', make_network_parser(__doc__), build)


if __name__ == '__main__':
    main()
