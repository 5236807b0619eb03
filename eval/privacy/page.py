"""What a page says of copies: tables, verdicts, and the nearest pairs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.eval.pictures import image_uri, shortened
from vesalius.eval.privacy.limits import CLOSE, ENOUGH, LEAKY, MOST_HIGH, PERCENTILE
from vesalius.eval.report import Figure, Section, Table


def sections(
    result: Mapping[str, Any], samples: Sequence[Path], train: Sequence[Path], texts: Sequence[str] = ()
) -> list[Section]:
    """Two sections of what `vesalius.eval.privacy.limits.find_copies` found.

    samples, train: where the pictures lie that were searched, and searched in, in their order. texts: the prompts.
    """
    measured = [r for r in result["copies"] if "copies" in r]
    leaky = sorted(f"{r['modality']} by {r['detector']}" for r in measured if r["limit"] < LEAKY * r["median_unseen"])
    figures = []
    for pair in result["pairs"]:
        text = texts[pair["sample"]] if texts else pair["names"][0]
        told = f"{pair['distance'] / max(pair['limit'], 1e-12):.2f} of the limit by {pair['detector']}"
        bad = pair["distance"] < pair["limit"]
        figures += [
            Figure(
                image=image_uri(samples[pair["sample"]]), caption=f"sample: {shortened(text, 90)}",
                alt=pair["modality"], note=told, bad=bad,
            ),
            Figure(
                image=image_uri(train[pair["train"]]), caption=f"its nearest training image: {pair['names'][1]}",
                alt=f"{pair['modality']}, a training image", real=True,
            ),
        ]  # fmt: skip
    few = sorted({f"{r['modality']} ({r['num_held_out']})" for r in result["copies"] if r["num_held_out"] < ENOUGH})
    same = sorted({f"{r['modality']} ({r['num_same']})" for r in result["copies"] if r.get("num_same")})
    notes = []
    if few:
        notes.append(f"Fewer than {ENOUGH} held-out images, so the limit is near the least of them: {', '.join(few)}.")
    if leaky:
        notes.append(
            f"Some held-out images lie so near to training images that a copy must be nearer still to be seen: "
            f"{', '.join(leaky)}. Look whether the splits share patients or images."
        )
    if same:
        notes.append(f"Held-out images that are training images too, and set no limit: {', '.join(same)}.")
    return [
        Section(
            title="Copies of training images",
            text=[
                f"Below the limit lie {PERCENTILE:g} % of unseen real images by chance. A conclusion needs all "
                "detectors to say the same, so that few samples, or detectors that disagree, carry none. A picture "
                "may tell of a patient without being near in any of these.",
                *notes,
            ],
            more=[
                f"The limit of a modality is the {PERCENTILE:g}st percentile of the distances from held-out real "
                "images to the training images, those of the same patient passed over. Beside the share of samples "
                "below it stands that of unseen real images, each by the limit of the others. Close: nearer than "
                f"{CLOSE:g} of the limit. Intervals are Wilson's; the bound is the one-sided 95 % one of Clopper and "
                "Pearson.",
                "By pixels: pictures laid over the training images that their thumbnails are likest to, mirrored, "
                "zoomed and shifted as fits best, without brightness and contrast, as the gates do. Networks see "
                "pictures as they are.",
                "More than unseen real images: the interval lies above theirs. No more: the bound is at most "
                f"{MOST_HIGH:.0%} (149 samples without any) and none is close.",
                "Near-duplicates: samples with another sample within the limit, beside real images with one of "
                "another patient, in sets as large.",
            ],
            tables=[verdicts_table(result), copies_table(result), duplicates_table(result)],
        ),
        Section(
            title="Nearest pairs",
            text=["The samples nearest to a training image, in units of their limit, each beside that image."],
            figures=figures,
            paired=True,
        ),
    ]  # fmt: skip


def verdicts_table(result: Mapping[str, Any]) -> Table:
    """A row per modality, with the highest share that a detector finds."""
    rows = []
    for modality, said in result["verdicts"].items():
        measured = [r for r in result["copies"] if r["modality"] == modality and "copies" in r]
        most = max(measured, key=lambda r: float(r["copies"]["value"]), default=None)
        told = ["-", "-"] if most is None else [f"{share_of(most['copies'])} by {most['detector']}", _close(most)]
        rows.append([modality, said, *told])
    return Table(head=("modality", "copies?", "most below the limit (95 %)", "close"), rows=rows)


def copies_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for row in result["copies"]:
        first = [row["modality"], row["detector"]]
        if "copies" not in row:
            rows.append([*first, f"not measured: {row['note']}", "", "", "", "", str(row["num_samples"])])
            continue
        rows.append(
            [
                *first, share_of(row["copies"]), f"{row['bound']:.1%}", share_of(row["unseen"]),
                _close(row),
                f"{row['limit']:.4f} ({row['median']:.4f}, unseen {row['median_unseen']:.4f})",
                f"{row['num_samples']}, {row['num_held_out']}, {row['num_train']}",
            ]
        )  # fmt: skip
    head = (
        "modality", "by", "below the limit", "bound", "unseen real images", "close", "limit (median distance)",
        "samples, held-out, training",
    )  # fmt: skip
    return Table(head=head, rows=rows, folded=f"By each detector ({len(rows)} rows)")


def _close(row: Mapping[str, Any]) -> str:
    return f"{round(row['close']['value'] * row['close']['num'])} of {row['close']['num']}"


def duplicates_table(result: Mapping[str, Any]) -> Table:
    rows = [
        [row["modality"], row["detector"], share_of(row["samples"]), share_of(row["real"]), str(row["num"])]
        for row in result["near_duplicates"]
    ]
    return Table(
        head=("modality", "by", "samples with a near-duplicate", "real images with one of another patient", "of each"),
        rows=rows,
        folded=f"Near-duplicates within the set ({len(rows)} rows)",
    )


def share_of(row: Mapping[str, Any]) -> str:
    """A share with its interval, as percent."""
    return f"{row['value']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
