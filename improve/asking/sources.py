"""Where the prompts of a round come from: captions of training records, the phantoms' grammar, and files of prompts.

Each is grouped into strata and gives as many prompts of each as a round allots to it. What no round may ask for, the
phrases of held-out images and the hard prompts, is passed as keys (`vesalius.improve.asking.ask.key_of`).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from vesalius.data.command.counted import counted
from vesalius.data.modality import MODALITIES, find_modality, modality_in
from vesalius.data.phantoms.phantom import RULES
from vesalius.data.record import Record
from vesalius.data.texts.prompt import is_chinese, prompts_of
from vesalius.improve.asking.aim import Group
from vesalius.improve.asking.ask import Ask, key_of
from vesalius.improve.asking.grammar import Want, findings_of, wants, worded
from vesalius.improve.asking.strata import prompt_strata, strata, stratum_of
from vesalius.inference.prompts.read import Prompt, stream_prompts

REPEATS = 4
"""How often one caption or prompt is asked for in one round at most, while others are left."""
TRIES = 50
"""New wordings until one is found that may be asked for."""
CHINESE = 3
"""Every which of the phantoms' prompts is Chinese."""
MOST_READ = 200_000
"""Prompts of a file that one round chooses among; of a longer file it takes so many at random."""


class Source(Protocol):
    """What a round can ask for, by stratum. notes: what was left out, and why."""

    @property
    def name(self) -> str: ...

    @property
    def groups(self) -> Mapping[str, Group]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    def ask(self, stratum: str, turn: int, rng: np.random.Generator) -> Ask | None:
        """The turn-th prompt of a stratum; None where none is found that may be asked for."""
        ...


def open_source(
    name: str,
    records: Sequence[Record],
    forbidden: Collection[str],
    *,
    least: int,
    seed: Sequence[int],
    chinese: bool = True,
) -> Source:
    """captions (of the records, which are trained on), phantoms (of their modalities), or a file of prompts.

    least: how many prompts a round wants of it. seed: of the round. chinese: whether the base reads Chinese, as far as
    that is known; it does where it is trained on such texts. ValueError where the source can give none.
    """
    if name == "captions":
        return Captions(records, forbidden, seed)
    modalities = {find_modality(r.modality).name for r in records}
    if name == "phantoms":
        told = (r.caption or r.text for r in records)
        return Phantoms(modalities, forbidden, chinese=chinese or any(map(is_chinese, told)))
    return Listed(Path(name), modalities, forbidden, most=max(4 * least, MOST_READ), seed=seed)


def ask_of_record(record: Record) -> Ask:
    """The prompt for which a record would be the answer: what training shows of it first."""
    modality = find_modality(record.modality).name
    text = next(iter(prompts_of(record)), record.text)
    return Ask(
        text=text, modality=modality, findings=record.findings, stratum=stratum_of(record), source="captions"
    )  # fmt: skip


class Captions:
    """Captions of records that are trained on, each stratum's records in an order of the round."""

    name = "captions"

    def __init__(self, records: Sequence[Record], forbidden: Collection[str], seed: Sequence[int]) -> None:
        self._asks: dict[str, list[Ask]] = {}
        self.groups: dict[str, Group] = {}
        self.notes: list[str] = []
        wider: dict[str, tuple[str, ...]] = {}
        left_out = 0
        for record in records:
            ask = ask_of_record(record)
            if key_of(ask.modality, ask.text) in forbidden:
                left_out += 1
                continue
            self._asks.setdefault(ask.stratum, []).append(ask)
            wider[ask.stratum] = strata(ask.modality, record.findings, label=record.label)[1:]
        if not self._asks:
            raise ValueError("--prompts captions: all of them are also captions of held-out images; use phantoms")
        for place, (stratum, own) in enumerate(sorted(self._asks.items())):
            order = np.random.default_rng([*seed, place]).permutation(len(own))
            self._asks[stratum] = [own[i] for i in order]
            self.groups[stratum] = Group(modality=wider[stratum][-1], wider=wider[stratum], most=REPEATS * len(own))
        if left_out:
            told = counted(left_out, "caption")
            self.notes.append(f"captions: {told} not asked for, of held-out images or hard prompts too")

    def ask(self, stratum: str, turn: int, rng: np.random.Generator) -> Ask | None:
        own = self._asks[stratum]
        return own[turn % len(own)]


class Phantoms:
    """The phantoms' grammar: every stratum that phantoms can have, in new words, every third in Chinese."""

    name = "phantoms"

    def __init__(self, modalities: Collection[str], forbidden: Collection[str], *, chinese: bool = True) -> None:
        self._wants: dict[str, Want] = wants(sorted(modalities))
        self._forbidden, self._chinese = forbidden, chinese
        self.notes = (
            [] if chinese else ["phantoms: in English alone, as neither base nor data is known to read Chinese"]
        )
        if not self._wants:
            raise ValueError(
                f"--prompts phantoms: they are of {', '.join(RULES)}, the data of {', '.join(sorted(modalities))}; use "
                "captions, or a file of prompts"
            )
        self.groups = {
            s: Group(modality=w.modality, wider=strata(w.modality, findings_of(w, np.random.default_rng(0)))[1:])
            for s, w in self._wants.items()
        }

    def ask(self, stratum: str, turn: int, rng: np.random.Generator) -> Ask | None:
        """Captions and reports in turn; a report denies one to three kinds too."""
        want = self._wants[stratum]
        first = int(rng.integers(6))
        for number in range(TRIES):
            place = first + turn + number
            findings = findings_of(want, rng, denials=1 + int(rng.integers(3)))
            text, told = worded(
                findings, want.modality, rng, language="zh" if self._chinese and place % CHINESE == 0 else "en",
                kind=("caption", "report")[place % 2],
            )  # fmt: skip
            if key_of(want.modality, text) not in self._forbidden:
                return Ask(text=text, modality=want.modality, findings=told, stratum=stratum, source=self.name)
        return None


class Listed:
    """The prompts of a file, which `vesalius generate --prompts` takes too; of a long one a sample at random.

    ValueError names file and line, or the prompt that says no modality.
    """

    def __init__(
        self, path: Path, modalities: Collection[str], forbidden: Collection[str], *, most: int, seed: Sequence[int]
    ) -> None:
        self.name = path.name
        self.notes: list[str] = []
        self.groups: dict[str, Group] = {}
        self._asks: dict[str, list[Ask]] = {}
        left_out = Counter[str]()
        kept = heapq.nsmallest(most, self._rows(path, modalities, forbidden, left_out, f"{[*seed]}"))
        wider: dict[str, tuple[str, ...]] = {}
        for _, _, prompt in kept:
            modality = _modality(prompt, path)
            names = prompt_strata(prompt.text, modality, prompt.findings)
            wider[names[0]] = names[1:]
            ask = Ask(
                text=prompt.text, modality=modality, findings=prompt.findings, stratum=names[0], source=self.name
            )  # fmt: skip
            self._asks.setdefault(names[0], []).append(ask)
        self.notes += [f"{path.name}: {counted(num, 'prompt')} {why}" for why, num in sorted(left_out.items())]
        if not self._asks:
            why = "; ".join(self.notes)
            raise ValueError(f"--prompts {path}: holds no prompt that a round may ask for ({why}); give another file")
        for stratum, own in sorted(self._asks.items()):
            self.groups[stratum] = Group(
                modality=own[0].modality, wider=wider[stratum], most=REPEATS * len(own), listed=len(own)
            )  # fmt: skip

    def _rows(
        self, path: Path, modalities: Collection[str], forbidden: Collection[str], left_out: Counter[str], seed: str
    ) -> Iterator[tuple[bytes, int, Prompt]]:
        """(a number at random of the round, place, prompt) of each that may be asked for."""
        for place, prompt in enumerate(stream_prompts(path)):
            modality = _modality(prompt, path)
            if modality not in modalities:
                left_out[f"of {modality}, of which the data holds no image to gate by"] += 1
            elif key_of(modality, prompt.text) in forbidden:
                left_out["not asked for, as captions of held-out images or hard prompts are not"] += 1
            else:
                yield hashlib.blake2b(f"{seed}/{place}".encode(), digest_size=8).digest(), place, prompt

    def ask(self, stratum: str, turn: int, rng: np.random.Generator) -> Ask | None:
        own = self._asks[stratum]
        return own[turn % len(own)]


def _modality(prompt: Prompt, path: Path) -> str:
    found = find_modality(prompt.modality) if prompt.modality else modality_in(prompt.text)
    if found is None:
        raise ValueError(
            f"--prompts {path}: '{prompt.text[:60]}' names no modality; name one in it ({', '.join(MODALITIES)}), or "
            "give the file a column modality"
        )
    return found.name


def held_out_keys(train: Sequence[Record], held_out: Sequence[Record]) -> frozenset[str]:
    """What no round may ask for: the texts of held-out images that no image which is trained on has too."""
    trained, other = (frozenset(itertools.chain.from_iterable(map(_keys, part))) for part in (train, held_out))
    return other - trained


def _keys(record: Record) -> Iterator[str]:
    modality = find_modality(record.modality).name
    for text in {record.caption or "", record.text, *prompts_of(record)} - {""}:
        yield key_of(modality, text)
