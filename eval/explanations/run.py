"""An explanation: which region of a sample attended to which word, and which one speaks for which finding.

explain(config)     DIR/explanation.html, DIR/explanation.json, and DIR/maps/*.npz with the maps as numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vesalius.data.command.page import write_html
from vesalius.data.hounsfield import window_named
from vesalius.data.images.image import Float32, Uint8, load_square, read_image, read_recipe
from vesalius.data.modality import find_modality
from vesalius.data.record import digest_file, write_atomic, write_json
from vesalius.eval.explanations.config import ExplainConfig
from vesalius.eval.explanations.finding_maps import (
    METHODS,
    Network,
    check_captum,
    find_finding,
    finding_names,
    gradcams,
    likeness,
    probabilities,
    random_twin,
)
from vesalius.eval.explanations.overlay import colour_stops, overlay, stretched, uri
from vesalius.eval.explanations.word_maps import WordMaps, peak, watch_words
from vesalius.eval.report import Figure, check_out
from vesalius.eval.shown import shown_image
from vesalius.inference.request import Request
from vesalius.inference.sample import Sample, load_samples
from vesalius.models.adapters.mix import parse_adapters
from vesalius.models.base import EMBEDDED
from vesalius.models.fit import check_adapters, check_base
from vesalius.models.networks.judge import Judge, attribute_names
from vesalius.models.networks.witness import Witness

MOST_FINDINGS = 4
"""Of a picture and a network."""
SAME = 2
"""Grey levels that a picture drawn again may be off: sums are rounded by batch and machine."""
RECIPE: dict[str, Any] = {
    "seed": int, "steps": int, "guidance": int | float, "height": int, "width": int, "reuse": int, "negative": str,
    "scheduler": str, "base": str, "precision": str,
}  # fmt: skip
"""Of what kind the parts of a recipe are by which a sample is drawn again: a picture may come from anywhere."""
CAVEATS = (
    "These maps are hints and no proof; they must not be used to judge an image, a finding or a patient.",
    "A word's map shows where the drawing looked it up, not what it caused: other words, the seed and the whole text "
    "act on every place too. Each map is stretched to its own range, so compare places within a map, not maps.",
    "A finding's map shows what a small network weighed. It may weigh what comes with a finding, not the finding "
    "itself. On phantoms, whose lesions are known, the judge's HiResCAM found them best, the witness's maps hardly.",
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A picture to explain. seen: the file that networks look at. sample: its recipe, None where it carries none."""

    path: Path
    seen: Path
    modality: str
    text: str
    hounsfield: bool
    sample: Sample | None


@dataclass(frozen=True, kw_only=True)
class FindingMap:
    """probability: what the network reads. twin: likeness to the map of random weights (Spearman's rho)."""

    network: str
    method: str
    finding: str
    probability: float
    twin: float
    values: Float32


@dataclass(frozen=True, kw_only=True)
class Group:
    """Figures of one kind below a picture's heading."""

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()


def explain(config: ExplainConfig) -> dict[str, Any]:
    """Explain a picture or samples; writes the page, and returns what the JSON holds.

    ValueError where the picture does not open, nothing says its modality, no network knows a finding that was asked
    for, or the sample was drawn with another base or adapter than is given.
    """
    check_captum()
    subjects = find_subjects(config)
    if config.words and any(s.sample and not s.sample.source for s in subjects):
        check_base(config.base or EMBEDDED)
        check_adapters(config.base or EMBEDDED, parse_adapters(config.adapter))
    networks: dict[str, Network] = {}
    if config.network in ("judge", "both"):
        networks["judge"] = Judge.load()
    if config.network in ("witness", "both"):
        networks["witness"] = Witness.load()
    check_findings(config.findings, networks)
    check_out(config.out, "explanation", ["explanation.json", "maps"])
    if config.dry_run:
        images = [{"image": str(s.path), "words": {}, "findings": [], "notes": _notes(config, s)} for s in subjects]
        return {"images": images}
    twins = {name: random_twin(network) for name, network in networks.items()}
    drawing = Redrawing(config)
    rows, shown = [], []
    for number, subject in enumerate(subjects):
        words, notes = None, _notes(config, subject)
        if config.words and subject.sample and not subject.sample.source:
            words, more = drawing.watch(subject)
            notes += more
        findings = [f for name, n in networks.items() for f in map_findings(config, subject, name, n, twins[name])]
        name = f"{number:03d}-{subject.path.stem}"
        _write_maps(config.out / "maps" / f"{name}.npz", words, findings)
        rows.append(_row(subject, words, findings, notes, f"maps/{name}.npz"))
        shown.append(_image(subject, words, findings, notes))
    digests = {name: network.digest for name, network in networks.items()}
    result = {"format": "vesalius-explanation-1", "networks": digests, "caveats": list(CAVEATS), "images": rows}
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "explanation.json", result)
    synthetic = all(s.sample for s in subjects)
    num = len(subjects)
    write_html(
        config.out / "explanation.html", "vesalius.eval.explanations", "explanation.html",
        title="Which region, which word",
        subtitle=f"{num} image{'s' * (num > 1)}", images=shown, caveats=CAVEATS, colours=colour_stops(),
        label="Synthetic images: not for diagnosis" if synthetic else "Not for diagnosis",
    )  # fmt: skip
    return result


def find_subjects(config: ExplainConfig) -> list[Subject]:
    """What is to be explained. ValueError names what is missing."""
    if config.num < 1:
        raise ValueError(f"--num {config.num}: expected at least 1")
    if config.image.is_dir():
        samples = load_samples(config.image)[: config.num]
        return [_of_sample(config.image, s, s.picture(config.image, units=False)) for s in samples]
    read_image(config.image)  # says what is wrong with it
    try:
        sample = Sample.from_json(read_recipe(config.image))
    except (ValueError, TypeError, OSError, AttributeError):
        sample = None
    if sample is not None:
        above = config.image.parent.parent
        return [_of_sample(above if (above / sample.file_name).is_file() else None, sample, config.image)]
    if config.modality is None:
        raise ValueError(
            f"{config.image}: carries no recipe that says its modality; give --modality CT, MRI, X-ray ..."
        )
    name = find_modality(config.modality).name
    return [Subject(path=config.image, seen=config.image, modality=name, text="", hounsfield=False, sample=None)]


def _of_sample(folder: Path | None, sample: Sample, path: Path) -> Subject:
    """folder: the samples folder, None where a picture lies alone; with it lie Hounsfield units, if there are any."""
    units = folder / sample.raw16 if folder and sample.raw16 else None
    seen = units if units and units.is_file() else path
    read_image(seen)
    for name, kind in RECIPE.items():
        if not isinstance(getattr(sample, name), kind):
            raise ValueError(f"{path}: its recipe is damaged ({name}); draw it again, or give an image without one")
    return Subject(
        path=path, seen=seen, modality=sample.modality, text=sample.text, hounsfield=seen is units, sample=sample
    )


def check_findings(findings: Sequence[str], networks: dict[str, Network]) -> None:
    """ValueError where no network knows one of them."""
    for finding in findings:
        if not any(finding in finding_names(n) for n in networks.values()):
            for network in networks.values():
                find_finding(network, finding)


def _notes(config: ExplainConfig, subject: Subject) -> list[str]:
    if not config.words:
        return []
    if subject.sample is None:
        return ["carries no recipe, so it cannot be drawn again and its words have no maps"]
    if subject.sample.source:
        return [f"was drawn from a picture ({subject.sample.source}); its words are not mapped"]
    return []


class Redrawing:
    """Draws samples again by their recipes. Generators are kept while recipes ask for the same one."""

    def __init__(self, config: ExplainConfig) -> None:
        self.config = config
        self._made: tuple[Any, Any] = (None, None)

    def watch(self, subject: Subject) -> tuple[WordMaps, list[str]]:
        """The maps of a sample's words, and what to say of them. ValueError where base or adapter are other ones."""
        sample = subject.sample
        assert sample is not None
        generator = self._generator(sample, subject.path)
        request = Request(
            prompt=sample.text, seed=sample.seed, modality=sample.modality,
            size=(sample.height, sample.width) if sample.height else None,
        )  # fmt: skip
        watched = watch_words(
            generator, request, steps=sample.steps, guidance=sample.guidance, negative=sample.negative
        )
        before, again = read_image(subject.path), watched.picture.image
        off = int(np.abs(before.astype(int) - again).max()) if before.shape == again.shape else 255
        if off <= SAME:
            return watched, []
        return watched, [f"drawn again it differs by up to {off} grey levels: the maps are those of another picture"]

    def _generator(self, sample: Sample, where: Path) -> Any:
        from vesalius.inference.drawing.schedulers import SCHEDULERS
        from vesalius.inference.generator import Generator

        # A picture from elsewhere may name any hub id: nothing is fetched that the user did not name.
        base = self.config.base or EMBEDDED
        if self.config.base is None and sample.base not in ("", EMBEDDED):
            raise ValueError(
                f"{where}: was drawn with base '{sample.base}'; give its folder or id by --base, or --no-words"
            )
        scheduler = sample.scheduler if sample.scheduler in SCHEDULERS else None
        key = (base, scheduler, sample.precision, sample.reuse)
        if self._made[0] != key:
            generator = Generator(
                base, self.config.adapter, scheduler=scheduler, reuse=sample.reuse, device=self.config.device,
                precision="bf16" if sample.precision == "bf16" else "fp32",
            )  # fmt: skip
            self._made = (key, generator)
        generator = self._made[1]
        if sample.base_digest and generator.base.digest != sample.base_digest:
            raise ValueError(f"{where}: was drawn with another base than '{base}'; give --base, or --no-words")
        if generator.adapter_digest != sample.adapter_digest:
            need = "give it by --adapter" if sample.adapter_digest else "leave out --adapter"
            told = "with an adapter that is not given" if sample.adapter_digest else "without an adapter"
            told = "with another adapter" if sample.adapter_digest and generator.adapter_digest else told
            raise ValueError(f"{where}: was drawn {told}; {need}, or --no-words")
        return generator


def map_findings(
    config: ExplainConfig, subject: Subject, name: str, network: Network, twin: Network
) -> list[FindingMap]:
    """Maps of the findings that were asked for and that the network knows, by each method."""
    size = network.config.image_size
    image = torch.from_numpy(load_square(subject.seen, find_modality(subject.modality), size).transpose(2, 0, 1).copy())
    read = probabilities(network, image)
    findings = choose_findings(config.findings, subject, read)
    found = []
    for method in METHODS if config.method == "both" else (config.method,):
        maps = gradcams(network, image, findings, method=method) if findings else []
        random = gradcams(twin, image, findings, method=method) if findings else []
        found += [
            FindingMap(
                network=name, method=method, finding=f, probability=read[f], values=m, twin=likeness(m, r)
            )
            for f, m, r in zip(findings, maps, random, strict=True)
        ]  # fmt: skip
    return found


def choose_findings(asked: Sequence[str], subject: Subject, read: dict[str, float]) -> list[str]:
    """Those asked for; else those that the prompt is known to ask for; else the two likeliest of the modality."""
    if asked:
        return [f for f in asked if f in read][:MOST_FINDINGS]
    wanted = subject.sample.findings if subject.sample else ()
    told = [n for f in wanted if f.present for n in attribute_names(subject.modality, f) if n in read]
    mine = sorted((n for n in read if n.startswith(f"{subject.modality}/")), key=lambda n: -read[n])
    return list(dict.fromkeys(told))[:MOST_FINDINGS] or mine[:2]


def _row(
    subject: Subject, words: WordMaps | None, findings: Sequence[FindingMap], notes: Sequence[str], maps: str
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "image": str(subject.path), "sha256": digest_file(subject.path), "modality": subject.modality,
        "text": subject.text, "synthetic": subject.sample is not None, "notes": list(notes), "maps": maps, "words": {},
    }  # fmt: skip
    if words is not None:
        shares = words.shares()
        row["words"] = {w: {"share": shares[w], "peak": peak(m)} for w, m in zip(words.words, words.maps, strict=True)}
        row |= {"marks": float(words.marks.mean()), "grids": words.grids, "steps": words.steps}
    row["findings"] = [
        {**{k: getattr(f, k) for k in ("network", "method", "finding", "probability", "twin")}, "peak": peak(f.values)}
        for f in findings
    ]
    return row


def _write_maps(path: Path, words: WordMaps | None, findings: Sequence[FindingMap]) -> None:
    """The maps as numbers: arrays words [N, H, W] and word_names, findings [N, H, W] and finding_names."""
    arrays: dict[str, Any] = {
        "findings": np.stack([f.values for f in findings]) if findings else np.zeros((0, 0, 0), np.float32),
        "finding_names": np.array([f"{f.network} {f.method} {f.finding}" for f in findings], str),
    }
    if words is not None:
        arrays |= {"words": words.maps, "word_names": np.array(words.words, str), "marks": words.marks}
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _image(
    subject: Subject, words: WordMaps | None, findings: Sequence[FindingMap], notes: Sequence[str]
) -> dict[str, Any]:
    """What the page shows of one picture."""
    size = findings[0].values.shape[0] if findings else 128
    window = window_named(subject.text) if subject.hounsfield else None
    picture = shown_image(subject.seen, subject.modality, size, window=window, hounsfield=subject.hounsfield)
    groups = [_first(subject, picture)]
    if words is not None:
        groups.append(_word_group(words))
    for network in dict.fromkeys(f.network for f in findings):
        groups.append(_finding_group(network, [f for f in findings if f.network == network], picture))
    text = [subject.text] if subject.text else []
    return {"title": subject.path.name, "text": [*text, *(f"Note: {n}." for n in notes)], "groups": groups}


def _first(subject: Subject, picture: Uint8) -> Group:
    kind = "Synthetic" if subject.sample else "Given"
    flat = overlay(picture, np.zeros(picture.shape[:2], np.float32))
    shown = flat if picture.shape[2] == 1 else np.repeat(np.repeat(picture, 3, axis=0), 3, axis=1)
    figure = Figure(image=uri(shown), caption="the image", alt=f"{kind} {subject.modality}")
    return Group(title="The image", figures=[figure])


def _word_group(words: WordMaps) -> Group:
    grids = ", ".join(f"{h} x {w}" for h, w in words.grids)
    shares = words.shares()
    alone = "" if len(words.grids) > 1 else ": the base attends at one level alone, so maps have no finer detail"
    text = [
        f"Cross-attention over {words.steps} steps, at {grids} cells{alone}.",
        f"{float(words.marks.mean()):.0%} of the attention went to marks of begin, end and padding, which have no map. "
        "The number below a word is its share.",
    ]
    figures = [
        Figure(
            image=uri(overlay(words.picture.image, stretched(m))), caption=word, note=f"{shares[word]:.2%}",
            alt=f"where '{word}' was looked up: most {_where(m)}",
        )
        for word, m in zip(words.words, words.maps, strict=True) if any(c.isalnum() for c in word)
    ]  # fmt: skip
    return Group(title="Words", text=text, figures=figures)


def _finding_group(network: str, findings: Sequence[FindingMap], picture: Uint8) -> Group:
    named = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}
    figures = [
        Figure(
            image=uri(overlay(picture, f.values)), caption=f.finding,
            note=f"{named[f.method]}; probability {f.probability:.0%}; likeness to random weights {f.twin:.2f}"
            + ("" if f.values.any() else "; no place speaks for it"),
            alt=f"{named[f.method]} of {f.finding}: most {_where(f.values)}",
        )
        for f in findings
    ]  # fmt: skip
    text = [
        "Likeness is the rank correlation with the map of the same network with random weights: near 1, a map would "
        "show the picture rather than what the network learnt."
    ]
    return Group(title=f"Findings, by the {network}", text=text, figures=figures)


def _where(values: Float32) -> str:
    """Where a map is highest, in words."""
    down, right = peak(values)
    rows, columns = ("top", "middle", "bottom"), ("left", "centre", "right")
    return f"at the {rows[min(2, int(down * 3))]} {columns[min(2, int(right * 3))]} of the picture"
