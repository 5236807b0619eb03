"""Sentences that say why something cannot be done: each in English and in Chinese, in one error.

What the demo itself refuses is a `Refusal`. What the package below it refuses speaks English: at the page's border it
is told by its kind, and the original stands behind "details". Knows neither store nor browser.
"""

from __future__ import annotations

import errno
import logging
import re
from typing import Literal, Self

log = logging.getLogger(__name__)
Language = Literal["en", "zh"]
FULL = (
    "The server's disk is full. Ask its owner to make room, and try again",
    "服务器磁盘已满。请让管理员腾出空间后重试",
)
BROKEN = (
    "Something broke on the server, and its log says what. Nothing of yours is lost; try again.",
    "服务器出错，详情见其日志。您的内容没有丢失，请重试。",
)
BELOW: tuple[tuple[str, str], ...] = (
    (r"names no modality", "描述中没有说明成像方式；请在描述中写明，或在“更多设置”中选择"),
    (r"modality '(.{0,60}?)' is not known", "未知的成像方式“{0}”；请从列表中选择"),
    (r"values that are not numbers", "模型算出的数值无效；请降低引导强度后重试，若仍出现请联系管理员"),
    (r"alone does not fit|too little for base|out of memory", "服务器内存不足；请减少步数或图像数量，或稍后重试"),
    (r"^size ", "模型无法生成这种尺寸的图像；请联系管理员"),
    (r"--steps ", "步数超出可用范围；请改小步数"),
    (r"--guidance ", "引导强度超出可用范围；请改小引导强度"),
    (r"--scheduler|--attention|--reuse|--memory|--device|precision '", "此模型不支持这组设置；请联系管理员"),
    (r"no adapter there|is no adapter|adapter_config|adapter\.json", "适配器的文件缺失或已损坏；请联系管理员"),
    (r"trained on base|not on '|does not fit base|different ways|DoRA", "适配器与此处的基础模型不匹配；请联系管理员"),
    (r"^base '|pickles are never loaded|no diffusers folder|support\.json", "基础模型的文件缺失或已损坏；请联系管理员"),
    (r"no such image file|corrupt or truncated|not an image|NaN or infinite", "图像文件无法读取；请换一幅图像"),
    (r"larger than \d+ pixels", "图像过大，无法读取；请换一幅较小的图像"),
    (r"Hounsfield units", "该图像没有亨氏单位（HU）数据"),
    (r"carries no Vesalius recipe", "该图像不含 Vesalius 设置；请使用此处下载的原始图像"),
    (r"is being written, or a file of it is damaged", "该循环正在写入，或其文件已损坏；本页会自动重试"),
    (r"no loop there", "该文件夹中没有改进循环；请检查路径"),
    (r"is held by|is running|in use", "该循环正在运行；请等它停下后再试"),
    (r"no round waits|was approved already", "没有等待审核的轮次；请刷新页面"),
    (r"names no sample|names \d+ samples", "本轮没有这个样本；请从列表中选择"),
    (r"has given no rating|digest of a sample|has no rater|is not 1 to 5", "评分文件中有一行无法识别；请联系管理员"),
    (r"no such file of ratings|not UTF-8|not CSV", "评分文件无法读取；请联系管理员"),
)  # fmt: skip
"""What the package below says, as patterns, and what that comes to in Chinese; the first that is found holds."""
OTHER = "无法完成此操作"
"""Of what no pattern knows; the original stands beside it."""
RATER = (
    "Your account may rate pictures only; ask the owner of this page for a teacher's account",
    "您的帐号只能评分；请本页管理员提供教师帐号",
)
NAMES = {
    "The prompt": "描述", "The negative prompt": "“不希望出现”一栏", "The modality": "成像方式",
    "The organ": "部位", "The finding": "病变", "The side": "侧别", "The title": "标题", "The history": "病史",
    "The findings": "影像所见", "The diagnosis": "诊断", "The discussion": "讨论",
    "The differential": "鉴别诊断", "The keywords": "关键词", "The references": "参考文献",
    "A caption": "图像说明", "The search": "搜索词", "The choice": "选择", "The job": "任务",
    "The wish": "操作", "The change": "改变项", "The picture": "图像", "The picture's id": "图像编号",
    "A picture's name": "图像编号", "The id": "图像编号", "The name": "姓名", "The level": "级别",
    "The ticket": "评分编号", "The comment": "备注", "The reason": "原因", "The sample": "样本",
    "The case's name": "病例编号", "A diagnosis": "诊断", "The introduction": "说明",
    "The guidance": "引导强度", "The number of steps": "步数", "The number of pictures": "图像数量",
    "The seed": "种子", "The range": "范围", "The size": "大小", "The count": "数量", "the question": "题目",
    "the picture": "图像", "the explanation": "解释", "a choice": "选项",
}  # fmt: skip
"""What fields are called in Chinese, by what they are called in English sentences."""


class Refusal(ValueError):
    """What cannot be done, in words for a person, with the remedy: in English, which is its text, and in Chinese."""

    def __init__(self, english: str, chinese: str) -> None:
        super().__init__(english)
        self.chinese = chinese

    def spoken(self, language: Language) -> str:
        """The sentence in a language."""
        return self.chinese if language == "zh" else str(self)

    @classmethod
    def of(cls, words: tuple[str, str], **values: object) -> Self:
        """A refusal of a pair of words; values replace {names}."""
        return cls(words[0].format(**values), words[1].format(**values))


def name_of(what: str) -> str:
    """What a field is called in Chinese. KeyError where nobody said, which a test looks for."""
    if match := re.fullmatch(r"Question (\d+)(?:: (.+))?", what):
        return f"第 {match[1]} 题" + (f"：{NAMES[match[2]]}" if match[2] else "")
    if what.startswith("A line of "):
        return f"{NAMES[f'The {what[10:]}']}中的一行"
    return NAMES[what]


def is_full(error: Exception) -> bool:
    """Whether a disk had no room."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def sentence(error: Exception, language: Language) -> tuple[str, str]:
    """What a person is told of an error, and the original where that stands behind "details" ("" where there is none).
    What is none of ours is logged."""
    zh = language == "zh"
    if isinstance(error, Refusal):
        return error.spoken(language), ""
    if isinstance(error, ValueError | MemoryError) and str(error):
        return translated(str(error)) if zh else (str(error), "")
    if is_full(error):
        return FULL[zh], ""
    log.error("an action of the page broke", exc_info=error)
    return BROKEN[zh], ""


def translated(english: str) -> tuple[str, str]:
    """A sentence of the package below in Chinese, by its kind, and the original."""
    line = " ".join(english.split())
    for pattern, chinese in BELOW:
        if match := re.search(pattern, line):
            return chinese.format(*match.groups()), english
    return OTHER, english


def both(error: Exception) -> str:
    """An error as a store keeps it: its English and its Chinese on a line each, and the original on a third."""
    english, (chinese, details) = str(error), sentence(error, "zh")
    return "\n".join([" ".join(english.split()), chinese, *([" ".join(details.split())] if details else [])])


def of_both(kept: str, language: Language) -> tuple[str, str]:
    """The same in one language, and what stands behind "details"; what was kept in English alone is told by its
    kind."""
    english, *rest = kept.split("\n")
    if language == "en" or not english:
        return english, ""
    return (rest[0], rest[1] if len(rest) > 1 else "") if rest else translated(english)
