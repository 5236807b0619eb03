"""Millimetres of a drawn picture, where they mean something.

A base draws at the scale of what it was trained on. Real images were resized to one edge, whatever they showed, so
theirs is not known. Phantoms are all drawn with one field of view (`vesalius.data.phantoms.phantom`); where phantoms
alone have shown the base what a prompt asks for, its pictures have their scale.
"""

from __future__ import annotations

from vesalius.models.support import Support


def spacing_of(support: Support | None, prompt: str, modality: str, size: int) -> float | None:
    """mm a pixel of a picture of `size` pixels along an edge; None where it is not known: no support told, no known
    finding asked for, or one that real images showed too."""
    field = _field_of(modality)
    if support is None or field is None:
        return None
    kinds = {finding.kind for finding in support.findings_in(prompt).values()}
    shown = {
        kind: [row for row in support.shown if row.modality == modality and any(f.kind == kind for f in row.findings)]
        for kind in kinds
    }
    rows = [row for kind in kinds for row in shown[kind]]
    if not all(shown.values()) or not rows or any(row.num_real for row in rows):
        return None
    return field / size


def _field_of(modality: str) -> float | None:
    """mm along the edge of a phantom."""
    from vesalius.data.phantoms import brain, chest, tissue

    fields = {"CT": chest.FIELD, "MRI": brain.FIELD, "pathology": tissue.FIELD / 1000}
    return fields.get(modality)
