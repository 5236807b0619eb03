"""Chinese for phantoms, as radiologists and pathologists write it."""

from __future__ import annotations

from dataclasses import replace

from vesalius.data.phantoms.terms_zh import TERMS_ZH
from vesalius.data.texts.phrases import Headings, Phrasing

WORDS_ZH = {
    "T1": "增强T1加权",
    "T2": "T2加权",
    "heart": "心脏",
    "hilum": "肺门",
    "ventricles": "侧脑室",
    "centrum semiovale": "半卵圆中心",
    "breast": "乳腺",
}
_MARKS = (
    ("，，", "，"), ("，。", "。"), ("，；", "；"), ("，、", "、"), ("，（", "（"), ("，：", "："), ("，）", "）"),
    ("，的", "的"), ("有有", "有"),
)  # fmt: skip


def polish_zh(text: str) -> str:
    """A sentence without the doubled marks that a phrase in commas leaves."""
    for double, single in _MARKS:
        if double in text:
            text = text.replace(double, single)
    return text


_SHOWS = "<示|显示|可见|见|提示|发现|检出|呈现|显示有>"
_SEEN = "<可见|见|见有|有|存在|发现|检出|显示|出现|查见|可以看到>"
_MM = "<{mm} mm|{mm}mm|{mm}毫米|{cm} cm|{cm}cm|{cm}厘米>"
_SIZE = "<直径|最大径|长径|大小|径线|最长径><|约|约为|为>" + _MM
_NONE = "<未见|未见明显|未见明确|未见确切|未发现|未检出|未显示|未看到|无|没有|不伴|未查见|排除>"
_FIELD = "<镜下|视野内|本视野|视野中|切片中|显微镜下|切片内>"
_RADIOLOGY: tuple[Headings, ...] = (
    ("检查目的", "检查方法", "检查所见", "诊断印象"), ("临床病史", "检查技术", "影像所见", "影像诊断"),
    ("病史", "检查技术", "影像学表现", "诊断意见"), ("申请原因", "扫描方法", "影像表现", "印象"),
    ("临床诊断", "扫描技术", "影像学所见", "影像学诊断"), ("检查目的", "检查技术", "影像表现", "结论"),
)  # fmt: skip
_PATHOLOGY: tuple[Headings, ...] = (
    ("送检说明", "染色方法", "镜下所见", "病理诊断"), ("临床病史", "染色方法", "镜下所见", "诊断意见"),
    ("送检目的", "制片方法", "显微镜所见", "病理意见"), ("病史", "制片方法", "镜下所见", "病理诊断"),
)  # fmt: skip
_HELD_RADIOLOGY: tuple[Headings, ...] = (
    ("申请原因", "检查方法", "影像所见", "结论"), ("临床诊断", "检查技术", "检查所见", "印象"),
    ("病史", "扫描方法", "影像学所见", "影像诊断"),
)  # fmt: skip
_HELD_PATHOLOGY: tuple[Headings, ...] = (
    ("送检目的", "染色方法", "显微镜所见", "诊断意见"), ("送检说明", "制片方法", "镜下所见", "病理意见"),
)  # fmt: skip
_ABSENT = (
    _NONE + "{list}。", _NONE + "{list}。", "<图像|影像|检查|扫描|本次检查><未见|未显示|未发现|未检出|无>{list}。",
    "<未见|无><明显|明确|>{list}<征象|表现|证据>。", "<所示层面|扫描范围内><未见|无|未发现>{list}。",
    "未见<到|有>{list}。",
)  # fmt: skip

CHINESE = Phrasing(
    terms=TERMS_ZH,
    single=(
        "[一{unit}]{one}", "[1{unit}]{one}", "{one}[一{unit}]", "{one}[1{unit}]", "<单发|孤立>{one}", "[单{unit}]{one}",
    ),
    sized=(
        "[一{unit}]{one}，{size}，", "[一{unit}]{size}的{one}", "[一{unit}]{grade}{one}，{size}，", "{size}的{one}",
        "{one}（{size}）", "[1{unit}]{one}，{size}，", "{one}[<一|1>{unit}]，{size}，", "[一{unit}]{one}（{size}）",
        "<{mm}mm|{mm} mm|{mm}毫米|{cm}cm|{cm}厘米>大小的{one}[一{unit}]", "<单发|孤立>{one}，{size}，",
        "{one}[1{unit}]（<约|>" + _MM + "）", "{grade}{one}（<约|>" + _MM + "）",
    ),
    several=(
        "{number}{unit}{many}", "{digits}{unit}{many}", "{many}，<共|总计|合计|><{number}|{digits}>{unit}，",
        "{many}（<共|><{number}|{digits}>{unit}）", "{many}<{number}|{digits}>{unit}",
        "<共|总计|合计><{number}|{digits}>{unit}{many}",
    ),
    several_sized=(
        "{number}{unit}{many}，{largest}，", "{digits}{unit}{many}，{largest}，",
        "{many}，<共|总计|合计><{number}|{digits}>{unit}，{largest}，", "<{number}|{digits}>{unit}{many}（{largest}）",
        "{many}<{number}|{digits}>{unit}，{largest}，", "<共|总计|合计><{number}|{digits}>{unit}{many}，{largest}，",
    ),
    both=("{many}", "{one}"),
    sizes=(_SIZE, "测量<约|约为>" + _MM),
    largest=(
        "<最大者|较大者|大者|最大病灶><|直径|长径|最大径|大小><|约|约为>" + _MM,
        "<其中|>最大<的|>一{unit}<|直径|长径|测量><|约|约为>" + _MM,
    ),
    grades=((20, "较小的"), (32, "中等大小的"), (1e9, "较大的")),
    sides={
        "left": ("左{place}",),
        "right": ("右{place}",),
        "bilateral": ("双{place}", "两{place}", "左、右{place}", "左右两{place}", "左右{place}"),
    },
    present=(
        "[{where}]" + _SEEN + "{the}。", "[{where}]" + _SEEN + "{the}。", "[<于|在>{where}]<可见|发现|检出|见>{the}。",
        "{the}[，<位于|在|见于>{where}]。", "{the}[<位于|见于>{where}]。", "[{where}]{the}。",
        "[{where}，]" + _SEEN + "{the}。",
        "<图像|影像|检查|扫描|本图>" + _SHOWS + "[{where}]{the}。", "<考虑|符合|提示>[{where}]{the}。",
        "[{where}：]{the}。",
        "<所见|影像表现|征象><符合|提示|考虑为>[{where}]{the}。",
        "本次<检查|扫描><发现|显示|可见|提示>[{where}]{the}。",
        "<所示层面|扫描范围内>[{where}]<出现|可见|有|见>{the}。", "[{where}的]{the}。",
    ),
    found=(
        _FIELD + _SEEN + "{the}。", _FIELD + _SEEN + "{the}。", "<可见|查见|见|发现|检出|有>{the}。", "{the}。",
        "<图像|本图|切片>" + _SHOWS + "{the}。", "<考虑|符合|提示>{the}。", "<所见|征象><符合|提示|考虑为>{the}。",
        "本次检查<发现|显示|可见>{the}。", "{the}，见于<视野内|切片中>。",
    ),
    conclusion=(
        "[{where}]{the}。", "[{where}]{the}。", "<考虑|符合|提示|诊断为>[{where}]{the}。",
        "{the}[，<位于|在>{where}]。",
        "<所见|影像表现|征象><符合|提示|考虑为>[{where}]{the}。", "[{where}]<可见|存在|有>{the}。",
        "[{where}：]{the}。",
        "[{where}]{the}表现。",
    ),
    item=("[{where}]{the}", "[{where}]{the}", "{the}[（{where}）]", "[{where}的]{the}", "{the}[，位于{where}]"),
    absent=(
        *(frame.replace("{list}", "{one}") for frame in _ABSENT), "{one}<未见|未显示|阴性|不存在|：无|：未见|：阴性>。",
        "<图像|影像|检查>不<支持|提示|符合>{one}。",
    ),
    absent_list=_ABSENT,
    normal={
        "CT": (
            "胸部CT未见<|明显|确切>异常。", "胸部未见<急性|明显>病变。", "<正常胸部|胸部正常>CT。", "胸部CT阴性。",
            "胸部<CT|影像|检查><|表现>正常。", "胸部<扫描|检查>未见<异常|病变>。",
        ),
        "MRI": (
            "颅脑MRI未见<|明显|确切>异常。", "颅内未见<|明显>异常。", "<正常颅脑|颅脑正常>MRI。",
            "脑实质未见异常信号。",
            "颅脑MRI阴性。", "脑部<MRI|影像|检查><|表现>正常。", "颅脑<扫描|检查>未见<异常|病变>。",
        ),
        "pathology": (
            "未见<|明显>病理改变。", "<间质|组织>未见<|明显>异常。", "纤维组织未见明显异常。", "正常<间质|组织>。",
            "镜下<组织|间质><|表现>正常。", "<仅为|>良性纤维<间质|组织>。",
        ),
    },
    background={
        "CT": (
            "心脏及大血管<未见异常|正常>。", "气道通畅。", "肋骨<未见骨折|完整>。", "纵隔居中。",
            "纵隔轮廓<规整|正常>。",
            "气管及主支气管通畅。",
        ),
        "MRI": (
            "脑沟<显示清晰|正常>。", "中线结构<居中|无移位>。", "颅骨完整。", "脑室大小正常。",
            "灰白质<分界|显示>清楚。",
        ),
        "pathology": (
            "间质为纤维组织，见梭形细胞。", "间质胶原化。", "背景为纤维<组织|间质>。", "切片为纤维<性|>间质。",
            "胶原束间有梭形细胞。",
        ),
    },
    indication={
        "CT": (
            "<|持续>咳嗽。", "<|活动后>气短。", "胸痛。", "复查。", "<|持续>发热。", "<|活动后>呼吸困难。",
            "咳嗽、发热。",
        ),
        "MRI": (
            "<|持续>头痛。", "<|新发>癫痫发作。", "突发肢体无力。", "复查。", "意识模糊。", "头晕。",
            "新发神经功能缺损。",
        ),
        "pathology": ("活检<|标本>。", "<粗针|细针|>穿刺<|活检>。", "<外科|>手术<切除|>标本。"),
    },
    technique={
        "CT": (
            "<|行>胸部CT<轴位|横断面|轴面><扫描|成像>。", "胸部CT，[{level}层面]轴位图像。",
            "胸部CT横断面[，{level}水平]。",
            "行胸部CT检查，<轴面|轴位>成像[，取{level}层面]。", "胸部计算机断层<扫描|成像>[，{level}层面]。",
        ),
        "MRI": (
            "<|行>颅脑MRI<轴位|轴面><扫描|成像>[，{sequence}]。", "颅脑MRI[，{sequence}序列][，{level}层面]，轴位。",
            "轴位[{sequence}]颅脑磁共振成像。", "行颅脑MRI检查，<轴面|轴位>成像[（{sequence}）]。",
            "头部磁共振[{sequence}]成像。",
        ),
        "pathology": (
            "[{organ}组织，]<行|>HE染色。", "苏木精-伊红染色[，{organ}]。", "[{organ}]组织切片，HE染色。",
            "[取自{organ}，]行HE染色。",
        ),
    },
    scan={
        "CT": (
            "<|轴位|轴面>胸部CT<|图像|断面|扫描>", "胸部CT<轴位|轴面|横断面><|图像|断层>", "胸部<轴位|轴面>CT<|图像>",
            "胸部CT[{level}层面]<|图像>",
            "胸部CT[{level}<层面|水平>]轴位图像", "[经{level}的]胸部CT<断面|图像>", "胸部计算机断层<|图像|扫描>",
            "胸部CT[（{level}层面）]",
        ),
        "MRI": (
            "<颅脑|脑部|头颅|头部>MRI<|图像|断面|扫描>", "<头颅|头部|颅脑|脑部>磁共振<|图像|成像>",
            "<轴位|轴面|>[{sequence}]<颅脑|脑部>MRI",
            "颅脑MRI<轴位|轴面>[{sequence}]像", "<颅脑|头颅>核磁共振[{sequence}]<图像|成像>",
            "颅脑MRI[，{sequence}][，{level}层面]",
            "<头部|脑部>MR<图|图像>[（{sequence}）]", "脑MRI<轴位|轴面|断面><|图像>",
        ),
        "pathology": (
            "HE染色<|病理|组织>图像", "[{organ}]组织病理图像（HE染色）", "HE染色[{organ}]组织<切片|玻片>",
            "[{organ}]组织HE染色<切片|玻片|图像>",
            "苏木精-伊红（HE）染色<图像|切片>", "[{organ}]显微镜下HE染色<图|图像>",
            "[取自{organ}的]HE染色<玻片|切片|标本>", "[{organ}]病理切片<图像|>（HE）",
        ),
    },
    scan_normal=(
        "{scan}<未见|未见明显|未发现|无>异常{without}。", "正常{scan}{without}。",
        "{scan}，<正常|未见异常|无异常>{without}。",
        "{scan}<表现|所示|显示|>正常{without}。", "{scan}：<正常|未见异常|未见明显异常>{without}。",
        "<一张|一幅>正常{scan}{without}。",
    ),
    captions=(
        "{scan}" + _SHOWS + "{list}{without}。", "{scan}" + _SHOWS + "{list}{without}。",
        "{scan}<：|，|；>{list}{without}。",
        "{scan}<中|上>" + _SEEN + "{list}{without}。", "{list}，{scan}{without}。", "{list}{without}；{scan}。",
        "{scan}，<可见|见|有|示|提示|考虑>{list}{without}。", "<图为|图示|本图为>{scan}，{list}{without}。",
        "{scan}<表现为|符合|考虑>{list}{without}。", "{list}的{scan}{without}。",
        "<一张|一幅>{scan}，<示|见|可见>{list}{without}。",
        "{list}{without}，所用图像为{scan}。", "<图像|影像>示{list}{without}，{scan}。",
    ),
    without=(
        "，<未见|无|不伴|没有|未检出|未发现>{list}", "；<未见|无|未见明显>{list}", "，未见<明显|明确|确切>{list}",
        "，排除{list}",
        "，<但|而>无{list}", "，{list}<阴性|未见>",
    ),
    joint=("，另见", "，同时有", "及", "，伴", "，并见", "，以及", "、", "和", "，另有", "，合并"),
    comma="、",
    either=("及", "和", "或", "、"),
    headings={"CT": _RADIOLOGY, "MRI": _RADIOLOGY, "pathology": _PATHOLOGY},
    orders=((0, 1, 2, 3), (0, 1, 2, 3), (1, 0, 2, 3), (3, 0, 1, 2)),
    heading=("{heading}：{text}", "【{heading}】{text}", "【{heading}】：{text}", "{heading}：{text}"),
)  # fmt: skip

_HELD_ABSENT = (
    "<图像|影像|扫描><中|上><没有|未看到|不存在>{list}。", "本次<扫描|检查><不伴|排除|没有>{list}。",
    "没有{list}的<征象|证据|表现>。",
    "<未|没有>发现有{list}。", "<影像|图像>所示<无|未见>{list}。",
)  # fmt: skip

CHINESE_UNSEEN = replace(
    CHINESE,
    terms={kind: replace(term, present=(), detail=()) for kind, term in TERMS_ZH.items()},
    present=(
        "[{where}]所见为{the}。", "<图像|影像><中|上><可以看到|检出|存在>[{where}]{the}。",
        "本次<扫描|检查>中，[{where}]<出现|检出|存在>{the}。",
        "<发现|检出|存在>{the}[，在{where}]。", "[{where}]<提示|考虑>为{the}。", "<检查|扫描>所示：[{where}]{the}。",
        "<本图|图像>中的[{where}]<有|可见>{the}。",
    ),
    found=(
        "<镜下|切片>所见为{the}。", "<图像|影像><中|上><可以看到|检出|存在>{the}。",
        "显微镜<检查|下的视野><可见|发现|检出>{the}。",
        "本次<切片|视野><提示|考虑>为{the}。", "<组织|间质><中|内><有|可见|出现>{the}。",
    ),
    conclusion=(
        "<检查|扫描><考虑|符合>[{where}]{the}。", "[{where}]<提示|考虑>为{the}。", "诊断：[{where}]{the}。",
        "[{where}]所见符合{the}。",
    ),
    item=("[在{where}的]{the}", "{the}[（在{where}）]"),
    absent=(
        *(frame.replace("{list}", "{one}") for frame in _HELD_ABSENT), "{one}<未检出|未发现|没有发现>。",
        "<所见|征象>不<支持|符合>{one}。",
    ),
    absent_list=_HELD_ABSENT,
    normal={
        "CT": ("胸部表现未见异常。", "<本次|>检查：胸部正常。"),
        "MRI": ("颅脑表现未见异常。", "<本次|>检查：颅脑正常。"),
        "pathology": ("镜下表现未见异常。", "<本次|>检查：组织正常。"),
    },
    background={
        "CT": ("大血管及纵隔正常。", "主支气管、气管未见异常。", "肋骨正常。"),
        "MRI": ("脑室、脑沟正常。", "中线居中，颅骨正常。"),
        "pathology": ("纤维间质内有梭形细胞。", "组织为胶原束。"),
    },
    indication={
        "CT": ("发热，胸痛。", "咳嗽，气短。", "呼吸困难复查。"),
        "MRI": ("头痛，头晕。", "肢体无力复查。", "癫痫复查。"),
        "pathology": ("穿刺切除标本。", "外科活检标本。"),
    },
    technique={
        "CT": ("胸部轴位断层CT[（{level}）]。", "CT检查，胸部[，取{level}水平]。"),
        "MRI": ("颅脑轴面MR[（{sequence}）]。", "MRI检查，头部[，{sequence}]。"),
        "pathology": ("切片行苏木精-伊红染色[（{organ}）]。", "HE染色，[取自{organ}的]标本。"),
    },
    scan={
        "CT": ("胸部断层CT<图像|扫描>", "CT<轴位|轴面>胸部图像[（{level}）]", "[{level}水平的]胸部CT<断层|轴面>"),
        "MRI": (
            "<头部|颅脑>MR<断层|断面>[（{sequence}）]", "MRI<轴位|轴面>头颅[{sequence}]图像",
            "[{sequence}的]脑部磁共振<断面|轴面>",
        ),
        "pathology": ("[{organ}]标本HE染色图", "显微镜下[{organ}]切片，HE染色", "HE染色的玻片<图|图像>[（{organ}）]"),
    },
    scan_normal=(
        "{scan}<提示|呈现>正常{without}。", "{scan}所见<正常|无异常>{without}。", "图为{scan}，未见异常{without}。",
    ),
    captions=(
        "{scan}所见为{list}{without}。", "{scan}<上|中>的{list}{without}。", "图为{list}{without}，{scan}。",
        "{list}，<见于|检出于>{scan}{without}。", "本图：{scan}，<发现|检出>{list}{without}。",
        "<所用|>图像为{scan}，见{list}{without}。",
    ),
    without=("，没有发现{list}", "，不存在{list}", "；不伴{list}", "，未看到{list}"),
    joint=("，同时伴", "，并有"),
    either=("和", "及"),
    headings={"CT": _HELD_RADIOLOGY, "MRI": _HELD_RADIOLOGY, "pathology": _HELD_PATHOLOGY},
    orders=((2, 3, 0, 1), (3, 2, 1, 0), (1, 2, 3, 0)),
)  # fmt: skip
