"""What of a prompt the base has hardly seen, in the reader's language."""

from __future__ import annotations

from vesalius.data.record import Finding
from vesalius.demo.sentences import Language
from vesalius.demo.terms import term
from vesalius.models.support import WEAK, Weakness


def told_weak(found: Weakness, language: Language) -> str:
    """A weakness in a sentence without its full stop."""
    if language == "en":
        return str(found)
    name, count = term(found.modality[0], "zh"), found.modality[1]
    if count < WEAK:
        rest = "、".join(f"{term(m, 'zh')}（{n}）" for m, n in found.seen)
        return f"模型几乎没有见过{name}（{_images(count)}），它见过的是：{rest or '无'}"
    told = []
    if found.weak:
        told.append("几乎没有见过" + "、".join(f"{name}中的{_finding(f)}（{_images(n)}）" for f, n in found.weak))
    if found.unread:
        words = "、".join(f"“{word}”{f'（是否想写“{near}”？）' if near else ''}" for word, near in found.unread)
        told.append(f"没有在{name}中读到过{words}")
    if found.nearest:
        near = "；".join(
            f"{term(s.modality, 'zh')}，{_finding(s.findings[0])}（{_images(s.num)}）" for s in found.nearest
        )
        rest = f"它见过的最接近的是：{near}"
    else:
        most = "、".join(f"{term(kind, 'zh')}（{n}）" for kind, n in found.most)
        rest = f"在{name}中它见过：{most or '没有指明的病变'}"
    return f"模型{'，也'.join(told)}。{rest}"


def _images(count: int) -> str:
    return f"{count} 幅图像" if count else "没有图像"


def _finding(finding: Finding) -> str:
    return f"{term(finding.side, 'zh') if finding.side else ''}{term(finding.kind, 'zh')}"
