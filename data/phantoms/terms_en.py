"""English nouns for the findings of phantoms."""

from __future__ import annotations

from vesalius.data.texts.phrases import Term

_LUNG = ("lung", "lung field")
_PLEURA = ("hemithorax", "pleural space", "pleural cavity")
_BRAIN = ("cerebral hemisphere", "hemisphere", "cerebrum")

TERMS = {
    "nodule": Term(
        one=(
            "nodule", "pulmonary nodule", "lung nodule", "rounded opacity", "solid nodule", "nodular lesion",
            "coin lesion", "nodular opacity", "solid pulmonary nodule", "round lung lesion",
        ),
        many=(
            "nodules", "pulmonary nodules", "lung nodules", "rounded opacities", "solid nodules", "nodular lesions",
            "coin lesions", "nodular opacities", "solid pulmonary nodules", "round lung lesions",
        ),
        absent="nodule", denied=("lung nodule", "pulmonary nodule", "nodular lesion", "nodular opacity"),
        place=_LUNG,
        detail=(
            "It is of soft-tissue density.", "No calcification is seen within it.", "It is solid and not calcified.",
            "The lesion is round and of soft-tissue attenuation.",
        ),
    ),
    "pleural effusion": Term(
        one=(
            "pleural effusion", "pleural fluid collection", "layering pleural effusion", "effusion",
            "collection of pleural fluid", "dependent pleural effusion", "free pleural effusion",
        ),
        many=(
            "pleural effusions", "pleural fluid collections", "layering pleural effusions", "effusions",
            "collections of pleural fluid", "dependent pleural effusions", "free pleural effusions",
        ),
        absent="pleural effusion", denied=("pleural fluid", "effusion", "pleural fluid collection"),
        place=_PLEURA,
        detail=(
            "The fluid layers dependently.", "The adjacent lung is compressed.", "The fluid compresses the lung.",
            "It lies in the dependent part of the pleural cavity.",
        ),
    ),
    "pneumothorax": Term(
        one=("pneumothorax", "collection of pleural air", "pocket of free pleural air", "pleural air collection"),
        many=("pneumothoraces", "collections of pleural air", "pockets of free pleural air", "pleural air collections"),
        absent="pneumothorax", denied=("pleural air", "free pleural air", "pleural air collection"),
        place=_PLEURA,
        detail=(
            "The visceral pleural line is visible.", "The lung is partly collapsed.", "The lung has partly collapsed.",
            "No lung markings are seen within the air.",
        ),
    ),
    "consolidation": Term(
        one=(
            "consolidation", "airspace consolidation", "airspace opacity", "consolidated area",
            "area of airspace disease", "area of consolidation", "consolidative opacity",
        ),
        many=(
            "consolidations", "airspace consolidations", "airspace opacities", "consolidated areas",
            "areas of airspace disease", "areas of consolidation", "consolidative opacities",
        ),
        absent="consolidation", denied=("airspace consolidation", "airspace opacity", "airspace disease"),
        place=_LUNG,
        detail=(
            "Air bronchograms are seen.", "Its margins are ill defined.", "It contains air bronchograms.",
            "The margins of the opacity are blurred.",
        ),
    ),
    "mass": Term(
        one=(
            "mass", "intra-axial mass", "space-occupying lesion", "tumor", "brain tumor", "mass lesion", "brain mass",
            "intracranial mass",
        ),
        many=(
            "masses", "intra-axial masses", "space-occupying lesions", "tumors", "brain tumors", "mass lesions",
            "brain masses", "intracranial masses",
        ),
        absent="mass", denied=("mass lesion", "intracranial mass", "space-occupying lesion", "brain tumor"),
        place=_BRAIN,
        detail=(
            "Perilesional edema is seen.", "A thick rim surrounds its center.", "It is surrounded by edema.",
            "The lesion has a thick rim.",
        ),
    ),
    "infarct": Term(
        one=(
            "infarct", "ischemic infarct", "territorial infarct", "cerebral infarction", "ischemic lesion",
            "infarction", "brain infarct", "ischemic stroke",
        ),
        many=(
            "infarcts", "ischemic infarcts", "territorial infarcts", "cerebral infarctions", "ischemic lesions",
            "infarctions", "brain infarcts", "ischemic strokes",
        ),
        absent="infarct", denied=("infarction", "ischemic infarct", "ischemic lesion", "cerebral infarction"),
        place=_BRAIN,
        detail=("It is wedge-shaped and reaches the cortex.", "The lesion is wedge-shaped.", "The cortex is involved."),
    ),
    "hemorrhage": Term(
        one=(
            "hemorrhage", "intracerebral hemorrhage", "parenchymal hematoma", "brain hemorrhage", "hematoma",
            "intracerebral hematoma", "parenchymal hemorrhage",
        ),
        many=(
            "hemorrhages", "intracerebral hemorrhages", "parenchymal hematomas", "brain hemorrhages", "hematomas",
            "intracerebral hematomas", "parenchymal hemorrhages",
        ),
        absent="hemorrhage", denied=("hematoma", "intracerebral hemorrhage", "brain hemorrhage"),
        place=_BRAIN,
        detail=("A narrow rim of edema surrounds it.", "It is surrounded by a narrow rim of edema."),
    ),
    "mitotic figures": Term(
        one=("mitotic figure", "mitosis", "cell in mitosis", "dividing cell", "mitotic cell"),
        many=("mitotic figures", "mitoses", "cells in mitosis", "dividing cells", "mitotic cells"),
        absent="mitotic figure", denied=("mitosis", "dividing cell", "mitotic cell"),
    ),
    "lymphocytic infiltrate": Term(
        one=(
            "lymphocytic infiltrate", "infiltrate of lymphocytes", "lymphoid aggregate", "lymphocyte aggregate",
            "aggregate of lymphocytes", "lymphoid infiltrate",
        ),
        many=(
            "lymphocytic infiltrates", "infiltrates of lymphocytes", "lymphoid aggregates", "lymphocyte aggregates",
            "aggregates of lymphocytes", "lymphoid infiltrates",
        ),
        absent="lymphocytic infiltrate", denied=("lymphoid infiltrate", "lymphoid aggregate", "lymphocyte aggregate"),
        detail=("Its nuclei are small, round and dark.", "The lymphocytes have small dark nuclei."),
    ),
    "necrosis": Term(
        one=(
            "focus of necrosis", "area of necrosis", "zone of tumor necrosis", "necrotic area", "patch of necrosis",
            "necrotic focus", "area of tumor necrosis",
        ),
        many=(
            "foci of necrosis", "areas of necrosis", "zones of tumor necrosis", "necrotic areas",
            "patches of necrosis", "necrotic foci", "areas of tumor necrosis",
        ),
        absent="necrosis", denied=("tumor necrosis", "necrotic area", "necrotic focus"),
        detail=("It is eosinophilic with nuclear debris.", "It contains nuclear debris and is eosinophilic."),
    ),
    "gland": Term(
        one=("gland", "glandular structure", "gland with an open lumen", "glandular lumen", "gland with a lumen"),
        many=("glands", "glandular structures", "glands with open lumens", "glandular lumens", "glands with lumens"),
        absent="gland", denied=("glandular structure", "glandular lumen"),
    ),
}  # fmt: skip
"""By kind of finding."""
