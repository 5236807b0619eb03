"""English for phantoms."""

from __future__ import annotations

import re
from dataclasses import replace

from vesalius.data.phantoms.terms_en import TERMS
from vesalius.data.texts.phrases import Headings, Phrases, Phrasing

WORDS = {"T1": "contrast-enhanced T1-weighted", "T2": "T2-weighted"}
_ARTICLE = re.compile(r"\b([aA])(?= (?:[aeioAEIO8]|un(?!i)|ul|MR|X-|H&E|1[18](?![\d.])))")
_MARKS = (
    ("  ", " "), (" .", "."), (" ,", ","), (",,", ","), (",.", "."), (",;", ";"), (",:", ":"), (", (", " ("),
    (",)", ")"), (", and, ", ", and "),
)  # fmt: skip


def polish(text: str) -> str:
    """A sentence: "an" where "a" cannot be (a number goes by its sound), no doubled marks, a capital."""
    for double, single in _MARKS:
        if double in text:
            text = text.replace(double, single)
    text = _ARTICLE.sub(r"\1n", text).strip()
    return text[:1].upper() + text[1:]


_SHOWS = "<shows|demonstrates|reveals|depicts|displays>"
_SHOWING = "<showing|demonstrating|revealing|depicting|displaying|with>"
_SEEN = "<seen|noted|present|visible|identified|found|observed|detected|visualized|apparent|demonstrated>"
_FOUND = "<seen|noted|identified|found|observed|detected|visualized|made out>"
_FIND = "<see|note|find|identify|observe|make out>"
_STUDY = "<image|scan|study|examination|slice>"
_FIELD = "<tile|field|section|slide|image>"
_KEEPING = "<in keeping with|consistent with|compatible with>"
_NO = "no<| convincing| definite| visible| discernible>"
_SIGN = "<evidence|sign|signs|indication|suggestion>"


def _side(side: str) -> Phrases:
    return (
        f"<in|within|inside> the {side} {{place}}", f"<in|within> the {side}-hand {{place}}", f"on the {side}",
        f"on the {side}<| hand|-hand> side", f"<in|within> the {{place}} on the {side}",
        f"<in|within> the {{place}} of the {side} side",
    )  # fmt: skip


def _heads(*sets: Headings) -> tuple[Headings, ...]:
    """The sets in capitals and in small letters."""
    return tuple((case(a), case(b), case(c), case(d)) for case in (str.upper, str.capitalize) for a, b, c, d in sets)


_HEADS = _heads(
    ("indication", "technique", "findings", "impression"), ("history", "technique", "findings", "impression"),
    ("clinical history", "technique", "findings", "conclusion"),
)  # fmt: skip
_HELD_HEADS = _heads(
    ("history", "technique", "findings", "conclusion"), ("indication", "technique", "findings", "conclusion"),
    ("clinical history", "technique", "findings", "impression"),
)  # fmt: skip
_ABSENT = (
    _NO + " {list}.", _NO + " {list} is " + _SEEN + ".", "there is " + _NO + " {list}.",
    "there is no " + _SIGN + " of {list}.", "no " + _SIGN + " of {list}.", "no " + _SIGN + " of {list} <is|are> seen.",
    "without <|evidence of |sign of |signs of >{list}.", "negative for {list}.", "free of {list}.",
    "the " + _STUDY + " " + _SHOWS + " no {list}.", "the " + _STUDY + " is <negative for|free of> {list}.",
    "we " + _FIND + " no {list}.", "absence of {list}.", "no {list} can be " + _FOUND + ".",
)  # fmt: skip

ENGLISH = Phrasing(
    terms=TERMS,
    single=(
        "a[ {side}] {one}", "one[ {side}] {one}", "a <single|solitary>[ {side}] {one}", "a[ {side}] {one}",
    ),
    sized=(
        "a[ {side}] {one} {size}", "a[ {side}] {one}, {size},", "a[ {side}] {one} ({size})",
        "a {mm}<-| >mm[ {side}] {one}", "a {cm}<-| >cm[ {side}] {one}", "a {grade}[ {side}] {one} {size}",
        "one[ {side}] {one} {size}", "a <single|solitary>[ {side}] {one} {size}",
        "a <single|solitary> {mm}<-| >mm[ {side}] {one}", "a {grade}[ {side}] {one}, {mm} mm,",
        "a {grade} {mm}<-| >mm[ {side}] {one}", "a[ {side}] {one} (<{mm} mm|{cm} cm>)",
    ),
    several=(
        "{number}[ {side}] {many}", "<{number}|{digits}> <separate|distinct|individual>[ {side}] {many}",
        "{digits}[ {side}] {many}", "a total of <{number}|{digits}>[ {side}] {many}",
        "[{side} ]{many}, <{number}|{digits}> in <number|total>,", "[{side} ]{many} (<{number}|{digits}>)",
    ),
    several_sized=(
        "{number}[ {side}] {many}, {largest},", "{digits}[ {side}] {many}, {largest},",
        "<{number}|{digits}>[ {side}] {many} ({largest})",
        "<{number}|{digits}> <separate|distinct|individual>[ {side}] {many}, {largest},",
        "a total of <{number}|{digits}>[ {side}] {many}, {largest},",
        "[{side} ]{many}, <{number}|{digits}> in <number|total>, {largest},",
    ),
    both=("[{side} ]{many}", "<concurrent|simultaneous>[ {side}] {many}", "[{side} ]{many}"),
    sizes=(
        "<measuring|of|spanning|with a size of|sized> <|about |approximately ><{mm} mm|{cm} cm|{mm}mm>",
        "<|about |approximately ><{mm} mm|{cm} cm> <in diameter|across|in size|in greatest dimension|wide>",
        "with a <|longest |maximum |greatest >diameter of <|about ><{mm} mm|{cm} cm>",
        "<|longest |maximum |greatest >diameter <{mm} mm|{cm} cm>",
        "measuring <{mm} mm|{cm} cm> <in diameter|across|in greatest dimension>",
    ),
    largest=(
        "the <largest|biggest> <|one |of them ><measuring|spanning|with a diameter of> <{mm} mm|{cm} cm>",
        "the <largest|biggest> <{mm} mm|{cm} cm> <in diameter|across|in size|in greatest dimension>",
        "up to <{mm} mm|{cm} cm><| across| in diameter| in size>", "<|the >largest <{mm} mm|{cm} cm>",
        "<maximum|greatest> diameter <{mm} mm|{cm} cm>",
    ),
    grades=((20, "small"), (32, "medium-sized"), (1e9, "large")),
    sides={
        "left": _side("left"),
        "right": _side("right"),
        "bilateral": (
            "on both sides", "bilaterally", "on the left and on the right", "on the left and right",
            "<in|within> both the left and the right {place}", "<in|within> the {place} of both sides",
            "on either side", "<in|within> the left and the right {place}",
        ),
    },
    adjectives={
        "left": ("left", "left-sided"), "right": ("right", "right-sided"), "bilateral": ("bilateral", "two-sided"),
    },
    present=(
        "there {is} {the}[ {where}].", "[{where}, ]there {is} {the}.", "{the} {is} " + _SEEN + "[ {where}].",
        "[{where}, ]{the} {is} " + _SEEN + ".", "[{where} ]{the} can be " + _FOUND + ".",
        "the " + _STUDY + " " + _SHOWS + " {the}[ {where}].", "imaging " + _SHOWS + " {the}[ {where}].",
        "{the}[ {where}].", "{the}[, {where}].", "[{where}: ]{the}.", "{the} can be " + _FOUND + "[ {where}].",
        "we " + _FIND + " {the}[ {where}].", "[{where} ]we " + _FIND + " {the}.", "note is made of {the}[ {where}].",
        "<there is |>evidence of {the}[ {where}].", "presence of {the}[ {where}].",
        "<findings|appearances> <|are >" + _KEEPING + " {the}[ {where}].",
        "the " + _STUDY + " is <positive|remarkable|notable> for {the}[ {where}].",
        "<positive|remarkable|notable> for {the}[ {where}].", "[{where} ]one can <see|make out|identify> {the}.",
        "<seen|noted|identified|visible>[ {where}] {is} {the}.", "{the} {is} <located|situated>[ {where}].",
    ),
    found=(
        "there {is} {the}<| in this field>.",
        "there {is} {the} in the " + _FIELD + ".", "{the} {is} " + _SEEN + ".",
        "{the} {is} " + _SEEN + " in <the|this> " + _FIELD + ".", "<the|this> " + _FIELD + " " + _SHOWS + " {the}.",
        "<the|this> " + _FIELD + " contains {the}.", "on <microscopy|histology>, {the} {is} " + _SEEN + ".",
        "<microscopy|histology> " + _SHOWS + " {the}.", "on <microscopy|histology> one <finds|sees> {the}.", "{the}.",
        "{the} can be " + _FOUND + ".", "we " + _FIND + " {the}.", "note is made of {the}.",
        "<there is |>evidence of {the}.", "presence of {the}.", "<findings|appearances> <|are >" + _KEEPING + " {the}.",
        "<|the field is ><positive|remarkable|notable> for {the}.", "<seen|noted|identified|visible> {is} {the}.",
    ),
    conclusion=(
        "{the}[ {where}].", "{the}[, {where}].", "[{where}, ]{the}.", "<there is |>evidence of {the}[ {where}].",
        "<findings|appearances> <|are >" + _KEEPING + " {the}[ {where}].", "presence of {the}[ {where}].",
        "<positive|remarkable|notable> for {the}[ {where}].", "there {is} {the}[ {where}].",
        "in summary, {the}[ {where}].", _KEEPING + " {the}[ {where}].", "{the}[ {where}] {is} " + _SEEN + ".",
        "appearances of {the}[ {where}].",
    ),
    item=(
        "{the}[ {where}]", "{the}[, {where}]", "{the}[ ({where})]", "{the}[ <located|seen|present|visible> {where}]",
        "{the}[ {where}]",
    ),
    absent=(
        *(frame.replace("{list}", "{one}") for frame in _ABSENT),
        "{one} is <absent|excluded>.", "{one} is not " + _SEEN + ".", "{one}: <absent|none|no|negative|not seen>.",
        "<the|this> " + _STUDY + " does not <show|demonstrate|reveal> {one}.", "absent {one}.",
    ),
    absent_list=_ABSENT,
    normal={
        "CT": (
            "no <|acute |significant ><abnormality|abnormal finding> of the <chest|thorax>.",
            "<normal|unremarkable|negative> <chest CT|CT of the chest|study|examination>.",
            "<unremarkable|normal> <chest|thorax>.", "the chest is <unremarkable|normal|within normal limits>.",
            "chest CT <without abnormality|is negative|is normal|within normal limits>.", "no acute disease.",
        ),
        "MRI": (
            "no <|acute |significant ><intracranial|brain|cerebral> abnormality.",
            "<normal|unremarkable|negative> <brain MRI|MRI of the brain|study|examination>.",
            "<unremarkable|normal> brain.", "the brain is <unremarkable|normal|within normal limits>.",
            "brain MRI <without abnormality|is negative|is normal|within normal limits>.",
        ),
        "pathology": (
            "no <|significant >pathologic <change|abnormality|finding>.", "<normal|unremarkable> <|fibrous >stroma.",
            "<normal|unremarkable|benign> fibrous tissue.", "the tissue is <normal|unremarkable|within normal limits>.",
            "benign <|fibrous >stroma<| only>.", "no abnormality.",
        ),
    },
    background={
        "CT": (
            "the heart and great vessels are <unremarkable|normal>.", "the airways are <patent|clear>.",
            "no rib fracture is seen.", "the mediastinal contours are <normal|regular>.",
            "the trachea and main bronchi are <patent|clear>.", "the ribs are intact.", "the mediastinum is midline.",
        ),
        "MRI": (
            "the sulci are <preserved|normal>.", "the midline is not shifted.", "the skull is <intact|normal>.",
            "the ventricles are of <normal|regular> size.", "gray and white matter are well differentiated.",
            "no midline shift.",
        ),
        "pathology": (
            "the stroma is <fibrous|collagenous><| with spindle cells>.", "the background is fibrous tissue.",
            "the section consists of <fibrous|collagenous> <stroma|tissue>.", "spindle cells and collagen bundles.",
            "spindle cells lie between <collagen|fibrous> bundles.",
        ),
    },
    indication={
        "CT": (
            "<|persistent |chronic >cough.", "shortness of breath<| on exertion>.", "<|acute >chest pain.",
            "follow-up<| examination>.", "<|persistent >fever.", "dyspnea<| on exertion>.", "<cough and fever|cough>.",
        ),
        "MRI": (
            "<|persistent |acute >headache.", "<|new |first >seizure.", "sudden weakness.", "follow-up<| examination>.",
            "<|acute >confusion.", "<|new >dizziness.", "<|new |acute >neurological deficit.",
        ),
        "pathology": (
            "<|core |needle >biopsy<| specimen>.", "<|surgical >resection specimen.", "surgical specimen.",
        ),
    },
    technique={
        "CT": (
            "<|axial >CT of the <chest|thorax>[ at the level of the {level}].",
            "<chest|thoracic> CT, axial <slice|plane|image>[ at the level of the {level}].",
            "computed tomography of the <chest|thorax>, axial[, level of the {level}].",
        ),
        "MRI": (
            "axial[ {sequence}] <MRI|MR imaging> of the <brain|head>.", "<brain|cranial> MRI, axial[ {sequence}].",
            "<brain|cranial> MRI[, {sequence}], axial slice[ at the level of the {level}].",
            "<cranial|brain> MRI in the axial plane[ ({sequence})].",
            "magnetic resonance imaging of the <brain|head>[, {sequence}].",
        ),
        "pathology": (
            "H&E <stain|staining>[, {organ}].", "hematoxylin and eosin<| stain>[, {organ} tissue].",
            "section[ of {organ}], stained with <H&E|hematoxylin and eosin>.",
        ),
    },
    scan={
        "CT": (
            "<|axial ><chest|thoracic> CT<| slice| image| scan>",
            "<|axial >CT<| slice| image| scan> of the <chest|thorax>",
            "<|axial >chest CT[ at the level of the {level}]",
            "<chest|thoracic> CT<| slice>[ (<|level of the >{level})]",
            "<|axial >computed tomography of the <chest|thorax>",
            "CT<| slice> through the <chest|thorax>[, {level} level]",
            "chest CT, axial <slice|view|plane|image>[ at the level of the {level}]",
        ),
        "MRI": (
            "<|axial >[{sequence} ]<brain|cranial> MRI<| slice| image| scan>",
            "<|axial >[{sequence} ]MRI<| slice| image| scan> of the <brain|head>",
            "<|axial >[{sequence} ]MR <image|slice|scan> of the <brain|head>",
            "axial[ {sequence}] brain MRI[ at the level of the {level}]",
            "<brain|cranial> MRI[, {sequence}][, {level} level]", "axial MRI slice through the brain[ ({sequence})]",
            "[{sequence} ]magnetic resonance imaging of the <brain|head>",
        ),
        "pathology": (
            "H&E <tile|image|section|slide>[ of {organ} tissue]", "H&E<|-stained> histopathology[ of the {organ}]",
            "hematoxylin and eosin (H&E) <image|section|slide>",
            "H&E-stained[ {organ}] <histology|tissue|section|slide>",
            "<histology|histopathology>[ of the {organ}], H&E<| stain>",
            "microscopy of an H&E section[ of the {organ}]",
            "H&E-stained <slide|section|specimen>[ from the {organ}]",
        ),
    },
    scan_normal=(
        "<normal|unremarkable|negative> {scan}{without}.", "{scan} <without|with no> abnormality{without}.",
        "{scan}, <normal|unremarkable>{without}.", "{scan} with no abnormal finding<|s>{without}.",
        "{scan} <showing|demonstrating|with> <no abnormality|nothing abnormal>{without}.",
        "{scan}: <normal|no abnormality|unremarkable>{without}.", "{scan} within normal limits{without}.",
        "<image|example> of a normal {scan}{without}.",
    ),
    captions=(
        "{scan} " + _SHOWING + " {list}{without}.", "{scan} " + _SHOWING + " {list}{without}.",
        "{scan} <that|which> " + _SHOWS + " {list}{without}.", "{scan} " + _SHOWS + " {list}{without}.",
        "{scan}: {list}{without}.", "{scan}, {list}{without}.", "{scan}; {list}{without}.",
        "{scan} <positive|remarkable|notable> for {list}{without}.", "{scan}, " + _KEEPING + " {list}{without}.",
        "{list} on {scan}{without}.", "{list} <seen|noted|visible|identified|present|demonstrated> on {scan}{without}.",
        "{list}{without}; {scan}.", "{list}{without}, {scan}.", "<image|picture|example> of {list}{without}; {scan}.",
        "<image|picture|example> of {list} on {scan}{without}.", "on {scan}, {list}{without}.",
        "{list}, as <seen|depicted|shown> <on|by> {scan}{without}.",
        "{scan} with <evidence|findings|signs> of {list}{without}.",
    ),
    without=(
        ", no {list}", ", without {list}", "; no {list}", ", no <evidence|sign> of {list}", ", but no {list}",
        ", <negative for|free of> {list}", " without <evidence|signs> of {list}", ", {list} <absent|not seen>",
        "; {list} <is absent|not present>",
    ),
    joint=(
        " and ", " and ", ", and ", " together with ", " as well as ", " with associated ", " plus ", ", along with ",
        ", with ", " in addition to ", "; ",
    ),
    comma=", ",
    either=(" or ", ", or "),
    headings=dict.fromkeys(("CT", "MRI", "pathology"), _HEADS),
    orders=((0, 1, 2, 3), (0, 1, 2, 3), (1, 0, 2, 3), (3, 0, 1, 2)),
    heading=("{heading}: {text}",),
)  # fmt: skip

_HELD_ABSENT = (
    "nothing " + _KEEPING + " {list}.", "nothing <positive|notable> for {list}.",
    "of {list} there is no <evidence|sign>.",
    "we " + _FIND + " no <evidence|sign> of {list}.", "the absence of {list} is <noted|observed|seen>.",
    "what the " + _STUDY + " " + _SHOWS + " is free of {list}.",
)  # fmt: skip

ENGLISH_UNSEEN = replace(
    ENGLISH,
    terms={kind: replace(term, present=(), detail=()) for kind, term in TERMS.items()},
    present=(
        "what the " + _STUDY + " " + _SHOWS + "[ {where}] is {the}.", "here we " + _FIND + "[, {where},] {the}.",
        "{the}, <seen|noted|identified|visible> on this " + _STUDY + "[ {where}].",
        "[{where}, ]the " + _STUDY + " " + _SHOWS + " {the}.", "the presence of {the}[ {where}] is <noted|observed>.",
        "in this " + _STUDY + ", {the} can be " + _FOUND + "[ {where}].",
        "{the} {is} what this " + _STUDY + " " + _SHOWS + "[ {where}].", "one notable finding is {the}[ {where}].",
    ),
    found=(
        "what <microscopy|histology|the section> " + _SHOWS + " is {the}.", "{the}, as " + _FOUND + " on microscopy.",
        "in the " + _FIELD + " we " + _FIND + " {the}.",
        "the presence of {the} is <noted|observed> in this " + _FIELD + ".",
        "in this " + _FIELD + ", {the} can be " + _FOUND + ".", "one notable finding is {the}.",
        "on this " + _FIELD + " one <finds|sees> {the}.",
    ),
    conclusion=(
        "the <findings|appearances> are those of {the}[ {where}].", "in summary, there {is} {the}[ {where}].",
        "the <study|examination> is " + _KEEPING + " {the}[ {where}].", "in summary, evidence of {the}[ {where}].",
        "[{where}, ]presence of {the}.",
    ),
    item=("{the}[, which {is} <located|seen|present> {where},]", "{the}[ that {is} <seen|visible> {where}]"),
    absent=(
        *(frame.replace("{list}", "{one}") for frame in _HELD_ABSENT),
        "{one} cannot be " + _FOUND + ".", "{one} is one finding not <seen|present|noted>.",
        "as for {one}, none is " + _SEEN + ".",
    ),
    absent_list=_HELD_ABSENT,
    normal={
        "CT": ("<a|this is a> normal study of the <chest|thorax>.", "nothing abnormal is seen on the chest CT."),
        "MRI": ("<a|this is a> normal study of the <brain|head>.", "nothing abnormal is seen on the brain MRI."),
        "pathology": ("<a|this is a> normal section.", "nothing abnormal is seen in the stroma."),
    },
    background={
        "CT": ("the mediastinum and the heart are unremarkable.", "patent airways.", "no fracture of the ribs."),
        "MRI": ("normal ventricles and sulci.", "no shift of the midline.", "intact skull."),
        "pathology": ("fibrous stroma with collagen.", "the tissue has spindle cells and a collagenous stroma."),
    },
    indication={
        "CT": ("pain in the chest.", "fever and cough.", "acute dyspnea."),
        "MRI": ("weakness and confusion.", "follow-up of a seizure.", "dizziness and headache."),
        "pathology": ("specimen from a <core |needle |>biopsy.", "specimen from a resection."),
    },
    technique={
        "CT": ("chest, axial computed tomography[, {level} level].", "axial slice of the thorax on CT[ ({level})]."),
        "MRI": ("brain, axial MRI[, {sequence}].", "MR slice in the axial plane[ ({sequence})], head."),
        "pathology": ("[{organ} ]section in H&E stain.", "stained with H&E[: {organ} tissue]."),
    },
    scan={
        "CT": (
            "<slice|image> from a CT<| scan> of the <chest|thorax>[ ({level})]", "CT, axial, of the <chest|thorax>",
            "axial slice from a <chest|thoracic> CT[, {level} level]", "<chest|thoracic> computed tomography",
        ),
        "MRI": (
            "<slice|image> from an MRI<| scan> of the <brain|head>[ ({sequence})]",
            "MRI, axial, of the <brain|head>[, {sequence}]",
            "axial slice from a <brain|cranial> MRI[, {sequence}]",
            "<brain|cranial> magnetic resonance <imaging|image>",
        ),
        "pathology": (
            "tissue[ of the {organ}] in H&E stain", "slide with H&E stain[, {organ}]",
            "<image|tile> from an H&E slide[, {organ}]",
            "section[ from the {organ}] on H&E <histology|microscopy>",
        ),
    },
    scan_normal=(
        "nothing abnormal on {scan}{without}.", "here {scan} is <normal|unremarkable>{without}.",
        "no abnormality on {scan}{without}.", "{scan} that is <normal|unremarkable>{without}.",
    ),
    captions=(
        "{scan}, in which {list} can be <seen|made out|identified>{without}.",
        "here {scan} " + _SHOWS + " {list}{without}.",
        "what {scan} " + _SHOWS + " is {list}{without}.", "depicted on {scan}: {list}{without}.",
        "{scan}; <seen|noted> here: {list}{without}.", "{list}{without}, an example on {scan}.",
        "{scan} in which there is {list}{without}.", "example: {list}; {scan}{without}.",
    ),
    without=(
        ", and there is no {list}", ", with no signs of {list}", " in the absence of {list}", ", and {list} not seen",
    ),
    joint=(" and also ", ", and in addition ", ", plus also "),
    headings=dict.fromkeys(("CT", "MRI", "pathology"), _HELD_HEADS),
    orders=((2, 3, 0, 1), (3, 2, 1, 0), (1, 2, 3, 0)),
)  # fmt: skip
