"""The page of a measure of usefulness: for each share of the real patients a verdict, a curve and a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vesalius.eval.pictures import Band, bands_svg
from vesalius.eval.report import Section, Table

TITLE = "Usefulness of a synthetic set"
METRICS = {"auroc": "AUROC", "accuracy": "accuracy", "ece": "ECE", "brier": "Brier", "dice": "Dice"}
METRICS |= {f"recall_{k}": f"recall@{k}" for k in (1, 5, 10)}
_LEVELS = ("real", "synthetic", "then", "unlabelled")


def sections(result: dict[str, Any]) -> list[Section]:
    """What the page shows of the result of `vesalius.eval.usefulness.run.measure`."""
    return [_head(result), *(_regime(result, regime) for regime in result["regimes"])]


def markdown(page: Sequence[Section]) -> str:
    """The same as Markdown, without the curves."""
    lines = [f"# {TITLE}", "", "Synthetic images: not for diagnosis.", ""]
    for section in page:
        lines += [f"## {section.title}", ""]
        for text in section.text:
            lines += [text, ""]
        for table in section.tables:
            lines += [f"| {' | '.join(table.head)} |", f"|{'---|' * len(table.head)}"]
            lines += [*(f"| {' | '.join(row)} |" for row in table.rows), ""]
    return "\n".join(lines)


def _head(result: dict[str, Any]) -> Section:
    settings, name, origin = result["settings"], METRICS[result["metric"]], result["origin"]
    what, measured = {
        "classification": (
            f"tells apart {', '.join(result['classes'])}",
            "AUROC: each class against the rest, mean over classes. ECE: 15 bins. Brier: 0 to 2.",
        ),
        "segmentation": (
            "outlines what the masks show",
            "Dice: of what a truth has, mean over kinds and images; what it has not is not counted.",
        ),
        "retrieval": (
            "finds the text of an image",
            f"recall@k: how often an image's own text is among the first k of {result['num_texts']} different ones.",
        ),
    }[result["task"]]
    return Section(
        title="Usefulness",
        text=[
            *(f"Warning: {line}" for line in result["warnings"]),
            *(
                []
                if origin == "real"
                else [f"'Real' in the names of what is compared stands for {origin} images here."]
            ),
            f"A classifier ({result['classifier']['name']}, {settings['size']} px) {what}. It is tested on "
            f"{result['num_test']} {origin} images of {result['num_test_patients']} patients whom no training saw; "
            f"there are {result['num_train']} {origin} training images of {result['num_patients']} patients, and "
            f"{result['num_synthetic']} samples. {_equal(result['classifier']['name'], settings)}",
            " ".join(result["provenance"]),
            f"{measured} In brackets: intervals at 95 % over {settings['seeds']} seeds. Differences are paired by "
            "seed, and their intervals hold the choice of test patients too.",
            f"'Real, repeated' is the control: in place of each sample a {origin} image of its class once more. A gain "
            f"has a difference in {name} to real alone and one to that control that both lie above 0. So that the best "
            "of several arms is not so by luck, the intervals of all arms at one share of the patients hold at once "
            "with 95 % confidence (Bonferroni). "
            "Each share is a question of its own, and is not corrected for the others.",
            *result["notes"],
        ],
        tables=[
            Table(
                head=(
                    f"{origin} patients",
                    "verdict",
                    "highest",
                    "to real alone",
                    "to real, repeated",
                    f"{origin} images behind",
                    "harm",
                ),
                rows=[_verdict(regime) for regime in result["regimes"]],
            )
        ],
    )


def _equal(classifier: str, settings: dict[str, Any]) -> str:
    """What arms have in common."""
    if classifier in ("convnet", "unet", "pair"):
        return (
            f"Every arm has {settings['updates']} updates of {settings['batch_size']} images and the same augmentation."
        )
    if classifier == "witness":
        return (
            "Every arm fits a linear head to its end, with a penalty for each image, on features that were learnt "
            "without labels."
        )
    return "It settles itself how long it trains; the control has as many images as the arm that it stands beside."


def _verdict(regime: dict[str, Any]) -> list[str]:
    shown = next(row for row in regime["arms"] if row["arm"] == (regime["best"] or regime["highest"]))
    return [
        _percent(regime["share"]),
        "gain" if regime["best"] else "no gain",
        shown["arm"],
        _difference(shown["against_real"]),
        _difference(shown["against_repeated"]),
        str(shown["num_behind"]),
        ", ".join(regime["harm"]) or "-",
    ]


def _regime(result: dict[str, Any], regime: dict[str, Any]) -> Section:
    names = [METRICS[m] for m in regime["arms"][0]["metrics"]]
    worst = any(row["worst_subgroup"] for row in regime["arms"])
    level = f"{100 * regime['confidence']:.1f} %"
    scores, differences = [], []
    for row in regime["arms"]:
        counts = [row["arm"], *(str(row[name]) for name in ("num_real", "num_synthetic", "num_behind"))]
        own = [_worst(row["worst_subgroup"])] if worst else []
        scores.append([*counts, *(_interval(m) for m in row["metrics"].values()), *own])
        if row["against_real"]:
            told = _difference(row["against_real"]), _difference(row["against_repeated"])
            differences.append([row["arm"], *told, row["verdict"] or ""])
    few = regime["share"] < 1 and result["seen"]["kind"] != "none"
    return Section(
        title=f"With {_percent(regime['share'])} of the {result['origin']} patients: {regime['verdict']}",
        text=[
            f"{regime['num_patients']} patients{_of_each(regime)}.",
            f"'Behind' counts the {result['origin']} images that an arm rests on: its own, and "
            "those that the model had seen that drew its samples.",
            *(
                [
                    f"The classifier has few {result['origin']} images here, and the model that drew the samples had "
                    "more of them: a gain is what the model carries over from those, and not what so few images are "
                    "good for."
                ]
                if few
                else []
            ),
        ],
        plots=[_plot(result, regime)],
        tables=[
            Table(
                head=("trained on", f"to real alone ({level})", f"to real, repeated ({level})", "verdict"),
                rows=differences,
            ),
            Table(
                head=(
                    "trained on", "real", "synthetic", "behind", *(f"{n} (95 %)" for n in names),
                    *(["worst subgroup (accuracy)"] if worst else []),
                ),
                rows=scores,
            ),
        ],
    )  # fmt: skip


def _of_each(regime: dict[str, Any]) -> str:
    return "" if regime["share"] == 1 else ", of each class one at least, others with each seed"


def _plot(result: dict[str, Any], regime: dict[str, Any]) -> str:
    metric = result["metric"]
    bands: dict[str, Band] = {}
    for kind, name in (("both", "real + synthetic"), ("repeated", "real, repeated")):
        own = [row for row in regime["arms"] if row["kind"] == kind]
        found = [row["metrics"][metric] for row in own]
        bands[name] = (
            [row["ratio"] for row in own], [m["value"] for m in found], [m["low"] for m in found],
            [m["high"] for m in found],
        )  # fmt: skip
    levels = {
        row["arm"]: (row["metrics"][metric]["value"], row["metrics"][metric]["low"], row["metrics"][metric]["high"])
        for row in regime["arms"]
        if row["kind"] in _LEVELS
    }
    title = f"{_percent(regime['share'])} of the {result['origin']} patients"
    return bands_svg(bands, levels, x=f"images added for each {result['origin']} one", y=METRICS[metric], title=title)


def _interval(measured: dict[str, Any]) -> str:
    return f"{measured['value']:.3f} ({measured['low']:.3f} to {measured['high']:.3f})"


def _difference(found: dict[str, Any] | None) -> str:
    return "" if found is None else f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _worst(found: dict[str, Any] | None) -> str:
    return "" if found is None else f"{found['name']}: {_interval(found['accuracy'])}"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
