"""The list of modalities, and the words that name them."""

from __future__ import annotations

import pytest

from vesalius.data.modality import MODALITIES, Modality, find_modality, modality_from_dicom, modality_in, safe_flips


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=list(MODALITIES))
def test_every_modality_is_found_by_each_of_its_words(modality: Modality) -> None:
    assert find_modality(modality.name) is modality
    assert all(find_modality(f" {word.upper()} ") is modality for word in modality.words)
    assert all(modality_from_dicom(code) is modality for code in modality.dicom)


def test_no_word_names_two_modalities() -> None:
    words = [w for m in MODALITIES.values() for w in {m.name.lower(), *m.words}]
    assert len(words) == len(set(words))


def test_unknown_word_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"^modality 'CTT' is not known; did you mean 'CT'\? \(CT, MRI, X-ray"):
        find_modality("CTT")
    with pytest.raises(ValueError, match=r"^modality 'qqqqqq' is not known; \(CT, MRI"):
        find_modality("qqqqqq")
    with pytest.raises(ValueError, match="DICOM modality 'SR' has no image type here"):
        modality_from_dicom("SR")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Axial chest CT with a nodule", "CT"),
        ("brain MRI, compared with CT", "MRI"),
        ("Chest radiograph, normal", "X-ray"),
        ("Show us a brain MRI", "MRI"),
        ("Mr. Smith has a chest CT", "CT"),
        ("US of the liver", "ultrasound"),
        ("MR of the knee", "MRI"),
        ("Hematoxylin and eosin, colon", "pathology"),
        ("Reactive lymph node", None),
        ("octopus", None),
        ("胸部CT示左肺结节", "CT"),
        ("头颅ct平扫未见出血", "CT"),
        ("颅脑MRI示占位", "MRI"),
        ("腰椎核磁", "MRI"),
        ("T2核磁共振图像", "MRI"),
        ("膝关节磁共振，对比CT", "MRI"),
        ("正位胸片，未见异常", "X-ray"),
        ("胸部X线示肺炎", "X-ray"),
        ("儿童胸部X光片", "X-ray"),
        ("肝脏B超", "ultrasound"),
        ("光学相干断层扫描示黄斑水肿", "OCT"),
        ("眼底彩照", "fundus"),
        ("乳腺病理切片，HE染色", "pathology"),
        ("HE染色图像示腺体", "pathology"),
        ("外周血涂片示嗜酸性粒细胞", "blood smear"),
        ("左肺结节", None),
    ],
)
def test_prompt_names_its_modality(text: str, name: str | None) -> None:
    found = modality_in(text)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "text", ["a LEFT lesion", "RUL opacity", "bilaterally", "左肺结节", "双侧胸腔积液", "left-sided"]
)
def test_flip_is_refused_when_text_names_a_side(text: str) -> None:
    assert safe_flips(MODALITIES["pathology"], text) == ()


def test_only_modalities_without_sides_may_be_flipped() -> None:
    assert safe_flips(MODALITIES["pathology"], "Benign glands, brightly stained") == ("horizontal", "vertical")
    assert safe_flips(MODALITIES["CT"], "Normal chest") == ()
