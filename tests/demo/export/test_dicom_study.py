"""A case as a DICOM study."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from vesalius.data.images.image import read_hu, read_image
from vesalius.demo.cases.case import Case
from vesalius.demo.export.dicom_study import instances, study_bytes
from vesalius.demo.export.sheet import sheet_of
from vesalius.demo.store.cases import save_case
from vesalius.demo.store.pictures import file_of
from vesalius.inference.writing.secondary_capture import NOTE


def study(kept: Any, case: Case | None = None, *, unknown: bool = False) -> list[Any]:
    return instances(kept.store, sheet_of(kept.store, "local", case or kept.case, unknown=unknown))


def test_a_case_is_one_study_with_a_series_for_each_modality(kept_case: Any) -> None:
    images = study(kept_case)
    assert len({i.StudyInstanceUID for i in images}) == len({i.PatientID for i in images}) == 1
    assert [(i.Modality, i.SeriesNumber, i.InstanceNumber) for i in images] == [
        ("CT", 1, 1),
        ("MR", 2, 2),
        ("CT", 1, 3),
    ]
    assert len({i.SeriesInstanceUID for i in images}) == 2
    assert len({i.SOPInstanceUID for i in images}) == 3
    for image in images:
        assert image.BurnedInAnnotation == "NO"
        assert image.SyntheticData == "YES"
        assert image.StudyDescription == f"{NOTE}. Zyxoma of the thumb"
        assert image.AdditionalPatientHistory == "A 40-year-old sailor with a cough."


def test_the_pixels_are_those_that_were_drawn(kept_case: Any) -> None:
    grey, _, deep = study(kept_case)
    assert np.array_equal(grey.pixel_array, read_image(file_of(kept_case.store, kept_case.pictures[0]))[..., 0])
    hu = deep.pixel_array * float(deep.RescaleSlope) + float(deep.RescaleIntercept)
    assert np.array_equal(hu, read_hu(file_of(kept_case.store, kept_case.pictures[2], units=True)))
    assert list(deep.NominalScannedPixelSpacing) == [2.5, 2.5]


def test_the_uids_are_the_cases_own_and_do_not_follow_its_words(kept_case: Any) -> None:
    first = [i.SOPInstanceUID for i in study(kept_case)]
    changed = save_case(
        kept_case.store, "local", replace(kept_case.case, title="Other words"), seen=kept_case.case.updated
    )
    assert [i.SOPInstanceUID for i in study(kept_case, changed)] == first
    copy = save_case(kept_case.store, "local", replace(kept_case.case, id=""))
    assert not set(first) & {i.SOPInstanceUID for i in study(kept_case, copy)}


def test_the_hidden_study_is_another_one(kept_case: Any) -> None:
    whole, hidden = study(kept_case), study(kept_case, unknown=True)
    assert len(hidden) == 2
    assert hidden[0].StudyInstanceUID != whole[0].StudyInstanceUID
    assert not {i.SOPInstanceUID for i in whole} & {i.SOPInstanceUID for i in hidden}
    assert hidden[0].PatientID != whole[0].PatientID
    assert "StudyDescription" not in hidden[0]
    assert hidden[0].ImageComments == f"{NOTE}. Axial slice"
    assert np.array_equal(hidden[0].pixel_array, whole[0].pixel_array)


def test_the_files_are_whole_dicom_files(kept_case: Any) -> None:
    sheet = sheet_of(kept_case.store, "local", kept_case.case, unknown=False)
    with zipfile.ZipFile(BytesIO(study_bytes(kept_case.store, sheet))) as archive:
        assert archive.namelist() == ["README.txt", *(f"DICOM/IM{n:04}.dcm" for n in (1, 2, 3))]
        image = dcmread(BytesIO(archive.read("DICOM/IM0001.dcm")))
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


def test_words_of_any_kind_fit_their_tags(kept_case: Any) -> None:
    case = replace(
        kept_case.case, title="back\\slash " + "长" * 80, diagnosis="a\nb", history="مرحبا 😀 \\ " + "x" * 3900
    )
    content = BytesIO()
    image = study(kept_case, case)[0]
    image.save_as(content, enforce_file_format=True)
    again = dcmread(BytesIO(content.getvalue()))
    assert len(again.StudyDescription) == 64
    assert "\\" not in again.StudyDescription
    assert again.AdmittingDiagnosesDescription == "a b"
    assert again.AdditionalPatientHistory == case.history.strip()


def test_a_case_without_pictures_is_told(kept_case: Any) -> None:
    with pytest.raises(ValueError, match="has no picture"):
        study(kept_case, replace(kept_case.case, images=()))
