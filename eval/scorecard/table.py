"""Rows of a scorecard: a number, what it stands beside, and the bar it should pass; as JSON and as Markdown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from vesalius.eval.fidelity.metrics import Measure

Unit = Literal["%", "dB", "HU", ""]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a number should reach, as a share where its unit is percent.

    least, most: limits of the value. most_high: limit of its interval's upper end. slack: how far it may lie below the
    first number beside it and still pass.
    """

    least: float | None = None
    most: float | None = None
    most_high: float | None = None
    slack: float | None = None

    def met(self, measured: Measure, beside: Measure | None = None) -> bool:
        low = self.least is not None and measured.value < self.least
        if low and self.slack is not None and beside is not None:
            low = measured.value < beside.value - self.slack
        over = self.most is not None and measured.value > self.most
        return not (low or over or (self.most_high is not None and measured.high > self.most_high))

    def told(self, unit: Unit) -> str:
        parts = []
        if self.least is not None:
            parts.append(f">= {_number(self.least, unit)}")
        if self.slack is not None:
            parts[-1] += f", or at most {100 * self.slack:g} points below"
        if self.most is not None:
            parts.append(f"<= {_number(self.most, unit)}")
        if self.most_high is not None:
            parts.append(f"upper bound <= {_number(self.most_high, unit)}")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number. what: its name. of: what it was measured on. beside: the numbers that give it a scale."""

    what: str
    of: str
    measured: Measure
    beside: tuple[Measure | None, ...] = ()
    unit: Unit = "%"
    bar: Bar | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is passed; None without one."""
        return None if self.bar is None else self.bar.met(self.measured, self.beside[0] if self.beside else None)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "target": self.bar.told(self.unit) if self.bar else None, "met": self.met}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One section. beside: heads of the columns of `Row.beside`. refused: why there are no rows, if so."""

    title: str
    text: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        rows = [row.to_json() for row in self.rows]
        return {
            "title": self.title, "text": self.text, "beside": self.beside, "rows": rows, "refused": self.refused
        }  # fmt: skip

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", *(f"{text}\n" for text in self.text)]
        if self.refused is not None:
            lines += [f"Not measured: {self.refused}", ""]
        if self.rows:
            head = ["", "of", "value (95 %)", "n", *(f"{name} (95 %), n" for name in self.beside), "target", "met"]
            lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
            lines += [f"| {' | '.join(self._cells(row))} |" for row in self.rows]
            lines.append("")
        return "\n".join(lines)

    def _cells(self, row: Row) -> list[str]:
        beside = [row.beside[i] if i < len(row.beside) else None for i in range(len(self.beside))]
        return [
            row.what, row.of, _interval(row.measured, row.unit), str(row.measured.num),
            *("" if m is None else f"{_interval(m, row.unit)}, {m.num}" for m in beside),
            row.bar.told(row.unit) if row.bar else "", {None: "", True: "yes", False: "**no**"}[row.met],
        ]  # fmt: skip


def _interval(measure: Measure, unit: Unit) -> str:
    low, high = _number(measure.low, unit, bare=True), _number(measure.high, unit, bare=True)
    return f"{_number(measure.value, unit)} ({low} to {high})"


def _number(value: float, unit: Unit, *, bare: bool = False) -> str:
    digits = {"%": f"{100 * value:.1f}", "dB": f"{value:.2f}", "HU": f"{value:.1f}", "": f"{value:.3f}"}[unit]
    return digits if bare or not unit else f"{digits} {unit}"
