"""Whatever the demo can say to a person, it says in English and in Chinese."""

from __future__ import annotations

import ast
import errno
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext

from vesalius.data.images.image import read_image
from vesalius.data.modality import find_modality
from vesalius.demo.create.choices import Menu
from vesalius.demo.create.weakness import told_weak
from vesalius.demo.page import plainly, text_within
from vesalius.demo.sentences import BELOW, NAMES, OTHER, Refusal, both, name_of, of_both, sentence, translated
from vesalius.models.support import Support

ROOT = Path(__file__).parents[2]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
FOR_TERMINALS = {"config.py", "server.py", "checking/check_rates.py", "store/schema.py", "drawing/supervisor.py"}
"""What speaks to whoever starts the demo, in a terminal, before there is a page."""
PASSED_ON = {"loop/loops.py": 4, "store/accounts.py": 4, "tabs/builder.py": 1}
"""ValueErrors beside those: of the loop's own words, which are told by their kind; of --add-account; of a state that is
caught at once."""


def raised(folder: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every error that a folder's files raise by a call, with the file's name."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield path.relative_to(folder).as_posix(), node.exc


def constants(node: ast.AST) -> str:
    """The words of a text, with a mark in the place of values."""
    if isinstance(node, ast.JoinedStr):
        return "".join(constants(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return constants(node.left) + constants(node.right)
    return str(node.value) if isinstance(node, ast.Constant) else "0"


def test_every_error_of_the_demo_has_a_chinese_wording() -> None:
    plain: dict[str, int] = {}
    num = 0
    for file, call in raised(ROOT / "demo"):
        name = ast.unparse(call.func)
        if name in ("Refusal", "CaseChanged") and not any(isinstance(a, ast.Starred) for a in call.args):
            english, chinese = call.args
            num += 1
            is_made = not isinstance(english, ast.Constant | ast.JoinedStr)
            assert is_made or not CHINESE.search(constants(english)), ast.unparse(call)
            assert is_made or CHINESE.search(ast.unparse(chinese)), ast.unparse(call)
        elif name in ("ValueError", "HTTPException"):
            plain[file] = plain.get(file, 0) + 1
    assert num > 90
    assert {file: n for file, n in plain.items() if file not in FOR_TERMINALS} == PASSED_ON


def test_every_pair_of_words_has_both_languages() -> None:
    pairs = 0
    for path in sorted((ROOT / "demo").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            told = isinstance(node, ast.Tuple) and len(node.elts) == 2 and [constants(each) for each in node.elts]
            if told and " " in told[0] and CHINESE.search(told[1]):
                pairs += 1
                names = [set(re.findall(r"\{(\w+)", each)) for each in told]
                assert names[1] <= names[0] | {"kind", "mm"} or not names[0], told  # no value that English lacks
    assert pairs > 200


def test_every_field_that_is_named_in_a_sentence_has_a_chinese_name() -> None:
    called = 0
    for path in sorted((ROOT / "demo").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            place = {"text_within": 2, "plain": 2, "_number": 1, "number": 1, "whole": 1}.get(node.func.id)
            if place is None or len(node.args) <= place or not isinstance(node.args[place], ast.Constant):
                continue
            what = constants(node.args[place])
            called += 1
            assert name_of(what if node.func.id in ("text_within", "plain", "_number") else f"The {what}")
    assert called > 25
    assert name_of("Question 3: a choice") == "第 3 题：选项"
    assert name_of("A line of keywords") == "关键词中的一行"
    with pytest.raises(Refusal) as refusal:
        text_within("x" * 9, 5, "The prompt")
    assert refusal.value.spoken("zh") == "描述有 9 个字符；最多保存 5 个。请缩短"
    assert all(CHINESE.search(name) for name in NAMES.values())


def test_every_kind_of_error_from_below_is_one_that_the_package_raises() -> None:
    said = [
        constants(call.args[0])
        for room in ("data/images", "data/texts", "models", "inference", "improve", "demo/loop")
        for _, call in raised(ROOT / room)
        if call.args
    ]
    said += [constants(call.args[0]) for _, call in raised(ROOT / "data") if call.args]
    said += ["CUDA out of memory", "a loop is running", "The loop 'x' is being written, or a file of it is damaged (x)"]
    unused = [pattern for pattern, _ in BELOW if not any(re.search(pattern, each) for each in said)]
    assert not unused


def test_errors_from_below_are_told_by_their_kind_with_the_original_behind_details(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CTT") as unknown:
        find_modality("CTT")
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="not an image") as unreadable:
        read_image(tmp_path / "x.png")
    for error, word in ((unknown.value, "未知的成像方式“CTT”"), (unreadable.value, "图像文件无法读取")):
        told, details = sentence(error, "zh")
        assert word in told
        assert details == str(error)
        assert sentence(error, "en") == (str(error), "")
    assert sentence(MemoryError("one picture alone does not fit (x)"), "zh")[0].startswith("服务器内存不足")
    assert translated("what nobody knows") == (OTHER, "what nobody knows")
    full = OSError(errno.ENOSPC, "No space left")
    assert [sentence(full, each)[0][:12] for each in ("en", "zh")] == ["The server's", "服务器磁盘已满。请让管理"]
    assert "服务器出错" in sentence(RuntimeError("boom"), "zh")[0]


def test_an_action_of_the_page_speaks_the_language_of_its_request() -> None:
    def refuse(kind: str) -> None:
        raise {"own": Refusal("No <b>such</b> thing", "没有这样的东西"), "below": ValueError("base '<x>' is no base")}[
            kind
        ]

    def message(kind: str, language: str) -> str:
        LocalContext.request.set(SimpleNamespace(headers={"accept-language": language}))  # type: ignore[arg-type]
        try:
            with pytest.raises(gr.Error) as error:
                plainly(refuse)(kind)
        finally:
            LocalContext.request.set(None)
        return str(error.value.message)

    assert message("own", "en-GB") == "No &lt;b&gt;such&lt;/b&gt; thing"
    assert message("own", "zh-CN,zh;q=0.9") == "没有这样的东西"
    told = message("below", "zh-TW")
    assert told.startswith("基础模型的文件缺失或已损坏")
    assert "<summary>详情（英文）</summary>base '&lt;x&gt;' is no base</details>" in told
    assert message("below", "en") == "base '&lt;x&gt;' is no base"


def test_what_a_job_says_is_kept_in_both_languages() -> None:
    kept = both(Refusal("It is full", "已满"))
    assert (of_both(kept, "en"), of_both(kept, "zh")) == (("It is full", ""), ("已满", ""))
    below = both(ValueError("prompt 'x': the base draws values\nthat are not numbers; lower --guidance"))
    assert of_both(below, "en")[0].endswith("that are not numbers; lower --guidance")
    assert "数值无效" in of_both(below, "zh")[0]
    assert of_both(below, "zh")[1] == of_both(below, "en")[0]
    assert of_both("", "zh") == ("", "")


@pytest.mark.parametrize(
    "prompt",
    [
        "Chest CT with a zyxoma on the left.",
        "Brain MRI, nodule.",
        "Chest CT with a bilateral pneumothorax and rickets.",
    ],
)
def test_what_the_base_has_hardly_seen_is_told_in_chinese(prompt: str) -> None:
    support: Support = Menu(None).support
    modality = "MRI" if "MRI" in prompt else "CT"
    weak = support.weakness(prompt, modality)
    assert weak is not None
    assert told_weak(weak, "en") == support.warn(prompt, modality)
    told = re.sub(r"“[a-z-]+”", "", told_weak(weak, "zh"))
    assert CHINESE.search(told)
    assert not re.search(r"[a-z]{3}", told), told
