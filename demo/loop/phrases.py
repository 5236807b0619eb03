"""The sentences of a loop, as patterns, with their Chinese (`vesalius.demo.loop.chinese` reads both).

Names in a pattern say how a part is told: told and also as a sentence of its own, gate, stratum, family, kind, network
and source as a name; others stay as they are.
"""

from __future__ import annotations

import re

GATES = {
    "accepted": "通过", "readable": "可读性", "veto": "人工否决", "range": "像素值", "modality": "成像方式",
    "organ": "部位", "side": "侧别", "negation": "否定", "exchange": "病变互换", "prompt": "描述", "findings": "病变",
    "agreement": "相符度", "copy": "复制", "typical": "典型性", "text": "图中文字", "depth": "代数", "best": "择优",
    "duplicate": "重复", "stratum": "分层", "quota": "配额",
}  # fmt: skip
"""What each gate looks at."""
NETWORKS = {"reader": "体模阅片网络", "witness": "见证网络", "judge": "评判网络"}
SOURCES = {
    "captions": "图像说明", "phantoms": "体模", "two findings": "两种病变", "three findings": "三种病变",
    "rare combination": "罕见组合", "small size": "小尺寸", "several": "多个", "denied": "含否定",
}  # fmt: skip
"""Where prompts come from, and what is hard about hard ones."""
WRONG = {
    "little contrast": "对比度过低",
    "harsh contrasts": "对比度过高",
    "more of it is black": "黑色区域过多",
    "more of it is pure white": "纯白区域过多",
    "its darkest parts are too bright": "最暗处过亮",
    "its brightest parts are too dark": "最亮处过暗",
    "noisier": "噪声过大",
    "noisier, at 256 pixels": "缩至 256 像素后噪声过大",
    "paler": "颜色过淡",
    "more colourful": "颜色过艳",
    "its darkest parts lie below real ones, in HU": "最暗处的 HU 值低于真实图像",
    "its brightest parts lie above real ones, in HU": "最亮处的 HU 值高于真实图像",
    "does not look like its modality": "不像所要求的成像方式",
    "looks rather like another organ": "更像另一部位",
    "agrees better with the other side": "与另一侧更相符",
    "one of two sides asked for is not seen": "要求双侧，有一侧未见",
    "agrees better with the text when a finding is denied or added": "否定或添加一种病变后，与文字更相符",
    "agrees better with the text when a finding is exchanged": "换成另一种病变后，与文字更相符",
    "agrees with its prompt hardly more than with others": "与自身描述的相符度几乎不高于其他描述",
    "a finding asked for is not seen": "未见所要求的病变",
    "a finding denied is seen": "出现所否定的病变",
    "looks rather like another diagnosis": "更像另一诊断",
    "agrees with its prompt less": "与描述的相符度较低",
    "lies nearer to a training image": "与某幅训练图像过于接近",
    "its pixels lie nearer to a training image's": "像素与某幅训练图像过于接近",
    "more average than any real image": "比任何真实图像都更平均",
    "unlike real images": "不像真实图像",
    "there is writing in it: words": "图中有文字，单词数",
}
"""What is wrong with a score, as the gates' rules say it."""
FACTS = {
    "The modality is the one asked for": "成像方式与要求一致",
    "Findings asked for are shown": "显示了所要求的病变",
    "Findings denied are not shown": "未出现所否定的病变",
    "Findings are on the side asked for": "病变侧别与要求一致",
    "Sizes are as asked for, within 25 %": "大小与要求相差不超过 25 %",
    "As many are shown as asked for": "数量与要求一致",
    "All that prompts ask for is so, all questions together": "描述的所有要求合计",
    "Hard prompts: what they ask for is so": "困难描述：符合要求",
    "Hard prompts of which everything is so": "困难描述：全部要求均符合",
    "Kinds of real images that samples reach (coverage, by the witness)":
        "样本覆盖的真实图像种类（覆盖率，见证网络）",
    "Samples nearer to a training image than unseen real images are (possible copies)":
        "比未见过的真实图像更接近训练图像的样本（可能为复制）",
    "How well unseen images are predicted (validation loss)": "对未见图像的预测（验证损失）",
    "Agreement with the prompt, by the network of the gates": "与描述的相符度（检查所用网络）",
    "The validation loss": "验证损失",
    "The distance to real images (raise --num-eval)": "与真实图像的距离（请增大 --num-eval）",
    "The share of real images that samples reach (raise --num-eval)": "样本覆盖的真实图像比例（请增大 --num-eval）",
}  # fmt: skip
"""Numbers that a decision rests on, or that are shown."""
PHRASES = {
    **FACTS, **WRONG,
    "better": "更好", "worse": "更差", "no clear difference": "无明显差异", "worse than in round 0": "差于第 0 轮",
    "not compared": "未比较", "not measured before": "此前未测量", "higher is better": "越高越好",
    "lower is better": "越低越好",
    "is evaluated": "正在评估", "trains": "正在训练", "adds back": "正在加入训练数据",
    "draws and gates": "正在生成并检查",
    "draws": "正在生成", "begins": "开始", "the data alone": "仅用数据", "what": "项目", "before": "之前",
    "now": "现在", "compared": "比较", "gate": "检查", "samples": "样本", "share": "占比",
    "for one of them": "其中一例",
    "stratum": "分层", "prompts": "描述", "samples that passed": "通过的样本", "prompts answered": "有通过样本的描述",
    "kept": "保留", "stratum that was skipped": "跳过的分层", "why": "原因", "round": "轮次", "per cent": "百分比",
    "per cent, higher is better": "百分比，越高越好", "per cent, lower is better": "百分比，越低越好",
    ", the data alone": "（仅用数据）",
    "over three rounds, a little each time": "（连续三轮，每次略差）",
    "promoted without the guard, for an experiment; it would be rolled back": "实验中未设防护而采用；否则应回退",
    "another sample of its prompt is better": "同一描述的另一样本更好",
    "a person refused it": "被人工否决",
    "nearly blank": "几乎空白",
    "could not be searched for writing": "无法检查图中文字",
    "was changed since it was drawn": "生成后被改动",
    "holds NaN or infinite pixels; replace or remove it": "含无效像素值",
    "no such image file; correct the path": "图像文件不存在",
    "its words are all those of held-out images or hard prompts": "其文字均已用于留出图像或困难描述",
}  # fmt: skip
_WRONG = "|".join(sorted((re.escape(each) for each in WRONG), key=len, reverse=True))
_NUMBER = r"-?[\d.]+(?: %)?"
_LIMIT = r"\((?P<value>\S+); (?P<share>\d+) % or more of real (?P<family>.+) images have (?P<limit>\S+) or"
SENTENCES: tuple[tuple[str, str], ...] = (
    # Why a sample was refused.
    (rf"(?P<told>{_WRONG}) {_LIMIT} more\)", "{told}（{value}；{share} % 以上的真实{family}图像不低于 {limit}）"),
    (rf"(?P<told>{_WRONG}) {_LIMIT} less\)", "{told}（{value}；{share} % 以上的真实{family}图像不高于 {limit}）"),
    (
        rf"(?P<told>{_WRONG}): (?P<kind>.+) {_LIMIT} more\)",
        "{told}：{kind}（{value}；{share} % 以上的真实{family}图像不低于 {limit}）",
    ),
    (
        rf"(?P<told>{_WRONG}): (?P<kind>.+) {_LIMIT} less\)",
        "{told}：{kind}（{value}；{share} % 以上的真实{family}图像不高于 {limit}）",
    ),
    (r"'(?P<kind>.+)' could not be computed", "无法计算{kind}"),
    (r"no held-out real (?P<family>.+) images to compare with", "没有可供比较的留出真实{family}图像"),
    (r"is (?P<size>.+) pixels, and was drawn at (?P<drawn>.+)", "为 {size} 像素，而生成时为 {drawn}"),
    (r"is of mode (?P<mode>.+); expected .+", "图像模式为 {mode}，不受支持"),
    (r"not an image \(.+\), or its header is damaged; replace or remove it", "不是图像，或文件头已损坏"),
    (r"larger than (?P<most>\d+) pixels; tile it first", "超过 {most} 像素"),
    (r"corrupt or truncated image \(.*\); replace or remove it", "图像已损坏或不完整"),
    (r"generation (?P<depth>\d+) is over (?P<most>\d+)", "第 {depth} 代，超过上限 {most}"),
    (
        r"a near-duplicate of a sample that an earlier round accepted \(distance (?P<apart>\S+)\)",
        "与先前某轮采用的样本近乎重复（距离 {apart}）",
    ),
    (r"a near-duplicate of (?P<name>\S+) \(distance (?P<apart>\S+)\)", "与 {name} 近乎重复（距离 {apart}）"),
    (
        r"(?P<share>\S+%) of each stratum's prompts are kept, and (?P<stratum>.+) has them",
        "每个分层保留 {share} 的描述，“{stratum}”已足够",
    ),
    (r"(?P<stratum>.+) is skipped in this round, (?P<told>.+)", "本轮跳过“{stratum}”：{told}"),
    (
        r"(?P<answered>\d+) of (?P<asked>\d+) of its prompts were answered by a sample that passed; "
        r"(?P<least>\S+%) are needed, (?P<usual>\S+%) are usual",
        "{asked} 条描述中 {answered} 条有通过的样本；至少需 {least}，通常为 {usual}",
    ),
    (
        r"the round has (?P<num>\d+) prompts of (?P<source>.+) for (?P<strata>\d+) strata; raise --num",
        "本轮“{source}”有 {num} 条描述，而分层有 {strata} 个；请增大 --num",
    ),
    # What a round is at, and what was decided.
    (r"round (?P<n>\d+): rolled back to round (?P<to>\d+)", "第 {n} 轮：已回退到第 {to} 轮"),
    (r"round (?P<n>\d+): promoted", "第 {n} 轮：已采用"),
    (r"round (?P<n>\d+): (?P<told>[a-z ]+)", "第 {n} 轮：{told}"),
    (r"round (?P<n>\d+)", "第 {n} 轮"),
    (
        r"(?P<passed>\d+) of (?P<num>\d+) samples? accepted; refused: (?P<gates>.+)",
        "{num} 幅样本中 {passed} 幅通过；剔除：{gates}",
    ),
    (r"(?P<passed>\d+) of (?P<num>\d+) samples? accepted", "{num} 幅样本中 {passed} 幅通过"),
    (r"ALARM: (?P<told>.+)|alarm: (?P<also>.+)", "警报：{told}{also}"),
    (r"why: (?P<told>.+)", "原因：{told}"),
    (
        r"the network of the gates likes the samples more \((?P<a>.+?), now (?P<b>.+?)\) while they became worse"
        r"(?P<also> over three rounds, a little each time)?: (?P<told>.+), (?P<c>[^,]+), now (?P<d>.+)\. The gates are "
        r"being gamed: tighten or change them",
        "检查所用网络更喜欢这些样本（{a}，现为 {b}），而样本变差{also}：{told}，{c}，现为 {d}。"
        "检查可能被钻了空子：请收紧或更换",
    ),
    (r"(?P<told>.+): not measured in this round", "{told}：本轮未测量"),
    (r"nothing is clearly better than in round (?P<n>\d+), which stays", "没有明显优于第 {n} 轮之处，保留第 {n} 轮"),
    (
        rf"(?P<told>.+?): (?P<before>{_NUMBER}) before, (?P<now>{_NUMBER}) now: (?P<also>.+)",
        "{told}：之前 {before}，现在 {now}：{also}",
    ),
    (rf"(?P<told>.+?): (?P<now>{_NUMBER}) now: (?P<also>.+)", "{told}：现在 {now}：{also}"),
    (r"(?P<num>\d+) rounds? (?:in a row )?without gain: the loop ends", "连续 {num} 轮没有改进：循环结束"),
    (
        r"The loop stands by round (?P<n>\d+)(?P<told>, the data alone)?(?P<also>: \d+ of \d+ rounds? promoted)?\.",
        "当前采用第 {n} 轮{told}{also}。",
    ),
    (r": (?P<promoted>\d+) of (?P<num>\d+) rounds? promoted", "：{num} 轮中 {promoted} 轮被采用"),
    (
        r"Approved(?: by (?P<by>.+?))?; (?P<num>\d+) samples? kept out(?: \((?P<why>.+)\))?\.",
        "已批准{by}；排除 {num} 个样本{why}。",
    ),
    (r"Strata: (?P<num>\d+) asked for, (?P<none>\d+) of which nothing was kept", "分层：{num} 个，{none} 个无保留"),
    (r"Strata that were skipped: (?P<num>\d+)", "跳过的分层：{num} 个"),
    # What numbers are called.
    (r"(?P<told>.+) \(shown, decides nothing\)", "{told}（仅供参考）"),
    (r"(?P<told>.+), by the (?P<network>reader|witness|judge)", "{told}（{network}）"),
    (r"Hard prompts \((?P<source>.+)\): what they ask for is so", "困难描述（{source}）：符合要求"),
    (r"Hard prompts: (?P<small>.+)", "困难描述：{small}"),
    (r"The stratum that is obeyed least \((?P<stratum>.+)\)", "符合度最低的分层（{stratum}）"),
    (
        r"Distance of (?P<family>.+) to real images \((?P<by_name>KID|Fréchet), by the (?P<network>\w+)\)",
        "{family}与真实图像的距离（{by_name}，{network}）",
    ),
    (
        r"Kinds of real (?P<family>.+) that samples reach \(coverage, by the (?P<network>\w+)\)",
        "样本覆盖的真实{family}种类（覆盖率，{network}）",
    ),
    (
        r"What accepted samples add to a classifier of finding:(?P<kind>.+) \(AUROC, over real images alone\)",
        "采用的样本对“{kind}”分类器的增益（AUROC，相对仅用真实图像）",
    ),
    (
        r"What accepted samples add to a classifier of label \(AUROC, over real images alone\)",
        "采用的样本对标签分类器的增益（AUROC，相对仅用真实图像）",
    ),
)  # fmt: skip
"""Patterns of whole sentences, and their Chinese; the first that fits holds."""
