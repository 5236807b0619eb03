"""What phantoms are known to show, as targets: which kinds of finding, and on which sides."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vesalius.data.phantom import KINDS
from vesalius.data.record import Record
from vesalius.models.judge_network import attribute_names


def phantom_attributes(records: Sequence[Record]) -> tuple[str, ...]:
    """Names "MODALITY/kind", and "MODALITY/kind/left" and "/right" for kinds that have a side in the records."""
    sided = {f.kind for r in records for f in r.findings if f.side}
    return tuple(
        f"{modality}/{kind}{side}"
        for modality, kinds in KINDS.items()
        for kind in kinds
        for side in ("", "/left", "/right")
        if not side or kind in sided
    )


def attribute_targets(records: Sequence[Record], attributes: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Truth and whether it is known, float32 [N, A]: known for phantoms, within their own modality."""
    index = {name: i for i, name in enumerate(attributes)}
    truth = torch.zeros(len(records), len(index))
    known = torch.zeros(len(records), len(index))
    for row, record in enumerate(records):
        if record.origin != "phantom":
            continue
        known[row, [i for name, i in index.items() if name.startswith(f"{record.modality}/")]] = 1
        for finding in record.findings:
            if finding.present:
                truth[row, [index[n] for n in attribute_names(record.modality, finding) if n in index]] = 1
    return truth, known
