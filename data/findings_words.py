"""The words by which findings are read from English reports, as plain data; what a table of words holds is said here.

A phrase is lower-case words. Hyphens count as spaces, `ae` and `oe` as `e`, and the plural of a kind's last word is
known, so none of these needs a phrase of its own. Of all phrases that begin at a word the longest counts: that is how
"no change in" denies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Cue = Literal[
    "denies", "denied", "denies or denied", "doubts", "doubted", "doubts or doubted", "either", "unasserted",
    "unasserted before", "asserts", "seen", "verb", "with", "end", "or", "and", "prior", "distance", "it", "plain",
]  # fmt: skip
"""What a phrase does to the findings around it.

denies, doubts, unasserted: to those that follow (unasserted: of the past, of relatives, asked for, advised).
denied, doubted, unasserted before: to those before. either: doubts the finding on each of its sides ("versus").
"... or ...": to what follows, and to what stands before where nothing does. end: no scope reaches across.
asserts: after a comma it begins a statement of its own. seen: a verb after which a denial is spent. with: the same,
for what is joined loosely. prior, distance: a size beside it is of another time, or no size at all.
it: begins a sentence about the finding before. plain: nothing, which keeps a shorter phrase from being read.
"""
Where = Literal["left", "right", "bilateral", "middle"]


@dataclass(frozen=True, kw_only=True)
class Words:
    """One language. kinds: names of each kind beside its own. normal: what denies a kind as a whole.

    counts: by number; 0 is several.
    """

    kinds: Mapping[str, tuple[str, ...]]
    normal: Mapping[str, tuple[str, ...]]
    cues: Mapping[Cue, tuple[str, ...]]
    sides: Mapping[Where, tuple[str, ...]]
    counts: Mapping[int, tuple[str, ...]]


UNSIDED = frozenset({
    "cardiomegaly", "pericardial effusion", "pneumomediastinum", "pneumoperitoneum", "ascites", "hepatomegaly",
    "splenomegaly", "hepatic steatosis", "cirrhosis", "gallstones", "cholecystitis", "pancreatitis", "appendicitis",
    "bowel obstruction", "hydrocephalus", "hiatal hernia", "mitotic figures", "aortic aneurysm", "diverticulosis",
    "lymphocytic infiltrate", "necrosis", "carcinoma in situ", "gland", "scoliosis", "pituitary adenoma",
    "splenic lesion", "prostate enlargement", "metaplasia", "dysplasia", "lymphovascular invasion", "fibrosis of stroma",
})  # fmt: skip
"""Kinds of which no side is told."""

ENGLISH = Words(
    kinds={
        # chest
        "nodule": (
            "lung nodule", "pulmonary nodule", "nodular opacity", "nodular opacities", "nodular lesion",
            "coin lesion", "nodular density", "nodular densities", "micronodule",
        ),
        "mass": ("mass lesion", "space occupying lesion", "tumor", "neoplasm", "masses", "tumor mass"),
        "pleural effusion": (
            "effusion", "pleural fluid", "pleural fluid collection", "hydrothorax", "parapneumonic effusion",
            "blunting of the costophrenic angle", "costophrenic angle blunting", "fluid in the pleural space",
        ),
        "pneumothorax": ("pneumothoraces", "ptx", "pleural air", "hydropneumothorax", "tension pneumothorax"),
        "consolidation": (
            "airspace disease", "air space disease", "airspace opacity", "airspace opacities", "air space opacity",
            "airspace consolidation", "consolidative opacity", "consolidative opacities", "consolidative change",
        ),
        "opacity": ("opacities", "opacification", "patchy density", "infiltrate", "pulmonary infiltrate", "haziness"),
        "ground-glass opacity": (
            "ground glass opacities", "ground glass", "ggo", "ground glass opacification", "ground glass attenuation",
            "groundglass opacity", "groundglass opacities", "ground glass nodule",
        ),
        "pneumonia": ("bronchopneumonia", "pneumonias", "pneumonic infiltrate", "pneumonitis"),
        "atelectasis": (
            "atelectatic change", "volume loss", "lung collapse", "collapse of the lung", "lobar collapse",
            "subsegmental atelectasis", "atelectases",
        ),
        "pulmonary edema": (
            "interstitial edema", "alveolar edema", "edema of the lungs", "vascular congestion", "pulmonary congestion",
            "pulmonary vascular congestion", "lung edema",
        ),
        "cardiomegaly": (
            "enlarged heart", "enlargement of the heart", "heart is enlarged", "heart is mildly enlarged",
            "heart is moderately enlarged", "cardiac enlargement", "enlarged cardiac silhouette",
            "cardiac silhouette is enlarged", "heart size is enlarged", "enlargement of the cardiac silhouette",
            "cardiac silhouette is mildly enlarged", "heart is markedly enlarged", "heart size is increased",
        ),
        "emphysema": ("emphysematous change", "bullous emphysema", "centrilobular emphysema", "emphysematous lungs"),
        "bulla": ("bullae", "bleb"),
        "bronchiectasis": ("bronchiectatic change", "bronchial dilatation", "dilated bronchi"),
        "pulmonary fibrosis": (
            "fibrotic change", "interstitial fibrosis", "lung fibrosis", "fibrosis of the lung", "honeycombing",
        ),
        "reticulation": ("reticular opacity", "reticular opacities", "septal thickening", "interlobular septal thickening"),
        "cavity": ("cavitation", "cavitary lesion", "cavities", "cavitating lesion"),
        "pulmonary embolism": ("pulmonary emboli", "pulmonary embolus", "pe", "filling defect", "pulmonary embolisms"),
        "pleural thickening": ("thickening of the pleura", "thickened pleura", "pleural plaque"),
        "pneumomediastinum": ("mediastinal air", "air in the mediastinum"),
        "pericardial effusion": ("pericardial fluid",),
        "subcutaneous emphysema": ("subcutaneous air", "soft tissue emphysema"),
        "lymphadenopathy": (
            "adenopathy", "enlarged lymph node", "lymph node enlargement", "enlarged node", "pathologic lymph node",
            "lymph nodes are enlarged", "enlarged mediastinal lymph node", "enlarged axillary lymph node",
            "abnormal lymph node", "suspicious lymph node", "enlarged hilar lymph node", "lymphadenopathies",
        ),
        "granuloma": ("calcified granuloma", "granulomata", "granulomatous lesion"),
        "tuberculosis": ("tb", "pulmonary tuberculosis"),
        "lung cancer": ("lung carcinoma", "bronchogenic carcinoma", "adenocarcinoma of the lung", "primary lung malignancy"),
        "metastasis": ("metastases", "metastatic disease", "metastatic lesion", "metastatic deposit", "secondary deposit"),
        "fracture": ("rib fracture", "broken rib", "compression fracture", "fractured rib"),
        "dislocation": ("subluxation",),
        "scoliosis": ("scoliotic curvature",),
        "degenerative change": ("spondylosis", "osteophyte", "degenerative disease", "osteoarthritis"),
        "lytic lesion": ("osteolytic lesion", "lucent bone lesion", "bone destruction"),
        "sclerotic lesion": ("osteoblastic lesion", "bone island"),
        "aortic aneurysm": ("aneurysm of the aorta", "aneurysmal dilatation of the aorta", "aneurysm of the abdominal aorta"),
        "aortic dissection": ("dissection of the aorta", "dissection flap"),
        "hiatal hernia": ("hiatus hernia",),
        "calcification": ("calcifications", "calcific density", "calcific densities", "microcalcification"),
        "rib lesion": (),
        # brain
        "infarct": (
            "infarction", "ischemic infarct", "ischemic stroke", "territorial infarct", "cerebral infarction", "stroke",
            "acute infarct", "acute ischemia", "restricted diffusion", "diffusion restriction", "lacune", "ischemic lesion",
        ),
        "hemorrhage": (
            "bleed", "bleeding", "intracranial hemorrhage", "hematoma", "intracerebral hemorrhage", "microhemorrhage",
            "parenchymal hematoma", "intraparenchymal hemorrhage", "intracerebral hematoma",
        ),
        "subdural hematoma": ("subdural hemorrhage", "subdural collection", "sdh", "subdural fluid collection"),
        "epidural hematoma": ("extradural hematoma", "epidural hemorrhage"),
        "subarachnoid hemorrhage": ("sah", "subarachnoid blood"),
        "midline shift": ("shift of midline structures", "shift of the midline", "midline is shifted", "subfalcine herniation"),
        "mass effect": (),
        "hydrocephalus": ("ventricular dilatation", "dilated ventricles", "ventriculomegaly", "ventricles are dilated"),
        "edema": ("vasogenic edema", "perilesional edema", "cerebral edema", "edematous change", "bone marrow edema"),
        "brain atrophy": ("cerebral atrophy", "cortical atrophy", "volume loss of the brain", "hippocampal atrophy"),
        "white matter hyperintensity": (
            "white matter hyperintensities", "white matter lesion", "small vessel disease", "leukoaraiosis",
            "white matter change", "microangiopathic change", "small vessel ischemic change",
        ),
        "glioma": ("glioblastoma", "astrocytoma", "oligodendroglioma", "high grade glioma", "low grade glioma"),
        "meningioma": (),
        "pituitary adenoma": ("pituitary tumor", "pituitary macroadenoma", "pituitary microadenoma"),
        "schwannoma": ("vestibular schwannoma", "acoustic neuroma"),
        "aneurysm": ("intracranial aneurysm", "saccular aneurysm"),
        "demyelination": ("demyelinating lesion", "demyelinating plaque", "ms plaque"),
        "enhancement": ("abnormal enhancement", "pathologic enhancement", "contrast enhancement", "ring enhancement"),
        # abdomen
        "cyst": ("simple cyst", "renal cyst", "hepatic cyst", "liver cyst", "cystic lesion", "kidney cyst", "ovarian cyst"),
        "hepatic lesion": ("liver lesion", "focal hepatic lesion", "focal liver lesion", "lesion in the liver"),
        "hemangioma": ("hepatic hemangioma", "liver hemangioma"),
        "hepatic steatosis": ("fatty liver", "steatosis", "fatty infiltration of the liver", "hepatosteatosis"),
        "cirrhosis": ("cirrhotic liver", "cirrhotic change"),
        "hepatomegaly": ("enlarged liver", "liver is enlarged", "enlargement of the liver"),
        "splenomegaly": ("enlarged spleen", "spleen is enlarged", "enlargement of the spleen", "splenic enlargement"),
        "splenic lesion": ("lesion in the spleen",),
        "ascites": ("free fluid", "intraperitoneal fluid", "free intraperitoneal fluid", "peritoneal fluid"),
        "pneumoperitoneum": ("free air", "free intraperitoneal air", "free gas", "free air under the diaphragm"),
        "gallstones": ("cholelithiasis", "gallstone", "stone in the gallbladder", "stones in the gallbladder"),
        "cholecystitis": ("gallbladder wall thickening",),
        "biliary dilatation": ("bile duct dilatation", "dilated bile duct", "dilated common bile duct", "biliary dilation"),
        "pancreatitis": ("peripancreatic stranding",),
        "appendicitis": ("inflamed appendix",),
        "diverticulosis": ("diverticula", "colonic diverticula", "diverticulitis"),
        "bowel obstruction": ("small bowel obstruction", "ileus", "dilated bowel loop", "obstructed bowel", "sbo"),
        "hydronephrosis": ("dilated collecting system", "hydroureteronephrosis", "pelvicalyceal dilatation"),
        "kidney stone": (
            "renal stone", "renal calculus", "nephrolithiasis", "renal calculi", "ureteral stone", "ureteric stone",
            "calculus", "calculi", "urolithiasis", "ureteral calculus",
        ),
        "renal mass": ("kidney mass", "renal tumor", "kidney tumor", "renal cell carcinoma"),
        "adrenal nodule": ("adrenal mass", "adrenal adenoma", "adrenal lesion"),
        "abscess": ("abscesses", "abscess formation"),
        "hernia": ("inguinal hernia", "umbilical hernia", "ventral hernia"),
        "thrombus": ("thrombosis", "thrombi", "portal vein thrombosis", "clot", "deep vein thrombosis", "dvt"),
        "prostate enlargement": ("enlarged prostate", "prostatomegaly", "prostate is enlarged"),
        "lesion": ("focal lesion", "focal abnormality", "focal abnormalities"),
        # breast and pathology
        "breast mass": ("mass in the breast", "breast lump", "breast tumor"),
        "breast cancer": ("breast carcinoma", "carcinoma of the breast", "breast malignancy"),
        "architectural distortion": (),
        "breast asymmetry": ("focal asymmetry", "focal asymmetries", "asymmetric density"),
        "skin thickening": ("thickening of the skin",),
        "fibroadenoma": ("fibroadenomata",),
        "carcinoma": (
            "malignancy", "malignancies", "invasive carcinoma", "ductal carcinoma", "invasive ductal carcinoma",
            "lobular carcinoma", "adenocarcinoma", "squamous cell carcinoma", "malignant cell", "cancer", "malignant tumor",
        ),
        "carcinoma in situ": ("dcis", "ductal carcinoma in situ", "in situ carcinoma", "lcis", "lobular carcinoma in situ"),
        "dysplasia": ("high grade dysplasia", "low grade dysplasia", "dysplastic change"),
        "metaplasia": ("intestinal metaplasia", "squamous metaplasia"),
        "mitotic figures": ("mitosis", "mitoses", "mitotic figure", "mitotic activity", "dividing cell", "mitotic cell"),
        "lymphocytic infiltrate": (
            "lymphoid aggregate", "lymphoid infiltrate", "infiltrate of lymphocytes", "aggregate of lymphocytes",
            "lymphocytic infiltration", "tumor infiltrating lymphocytes", "lymphocyte aggregate",
        ),
        "necrosis": ("necrotic area", "necrotic focus", "necrotic foci", "tumor necrosis", "comedonecrosis"),
        "gland": ("glandular structure", "glandular lumen"),
        "lymphovascular invasion": ("vascular invasion", "lymphatic invasion", "lvi"),
        "perineural invasion": (),
        "fibrosis of stroma": ("stromal fibrosis", "desmoplasia", "desmoplastic reaction"),
        "polyp": ("adenomatous polyp", "tubular adenoma"),
        "inflammation": ("chronic inflammation", "acute inflammation", "inflammatory change", "inflammatory infiltrate"),
    },
    normal={
        "cardiomegaly": (
            "heart size is normal", "heart is normal in size", "heart is not enlarged", "normal heart size",
            "heart size normal", "heart size is within normal limits", "cardiac silhouette is normal",
            "cardiac silhouette is not enlarged", "heart is of normal size", "heart size is not enlarged",
            "cardiac size is normal", "cardiac silhouette is normal in size", "heart and mediastinum are normal",
        ),
        "hydrocephalus": (
            "ventricles are normal in size", "ventricles are not dilated", "ventricles are of normal size",
            "ventricles are not enlarged", "normal ventricles",
        ),
        "midline shift": ("midline is not shifted", "midline structures are not shifted", "midline structures are central"),
        "lymphadenopathy": ("lymph nodes are not enlarged", "nodes are not enlarged", "lymph nodes are normal"),
        "hepatomegaly": ("liver is not enlarged", "liver is normal in size"),
        "splenomegaly": ("spleen is not enlarged", "spleen is normal in size"),
    },
    cues={
        "denies": (
            "no", "not", "without", "free of", "free from", "negative for", "absence of", "no evidence of",
            "lack of", "clear of", "devoid of", "fails to show", "failed to show", "excludes", "excluding", "rules out",
            "nor", "neither", "never", "resolution of", "denies", "no sign of", "no signs of", "no longer shows",
            "no suggestion of", "not suggestive of", "not consistent with", "not compatible with", "no definite",
            "no findings to suggest", "no finding to suggest", "nothing to suggest", "no suspicion of", "none of the",
            "no suspicious", "does not show", "no possible", "no concern for", "no radiographic evidence of",
            "do not show", "cannot see", "no features of", "against", "clearance of", "no convincing", "not represent",
            "no findings suspicious for", "no findings concerning for", "no finding suspicious for", "ruled out for",
            "no longer has", "interval removal of", "does not represent", "no evidence to suggest", "w/o", "not have",
        ),
        "denied": (
            "is excluded", "are excluded", "was excluded", "has been excluded", "excluded", "ruled out",
            "no longer seen", "no longer visible", "no longer present", "no longer identified", "no longer evident",
            "not seen", "not identified", "not present", "not visualized", "not visible", "not appreciated", "not evident",
            "not demonstrated", "not detected", "not noted", "not found", "not clearly seen", "not definitely seen", "not definitely visualized", "not definitely identified", "not well visualized",
            "not clearly visualized", "not clearly identified", "absent",
            "has cleared", "have cleared", "is negative", "are negative", "negative", "not any longer seen", "not observed",
            "completely resolved", "fully resolved", "have resolved", "has resolved", "now resolved", "was removed",
            "has been removed", "has been resected", "was resected", "has disappeared", "have disappeared", "none",
            "not apparent", "not shown", "disappeared", "not discernible", "has since resolved", "has been ruled out",
        ),
        "denies or denied": ("resolved", "interval resolution"),
        "doubts": (
            "possible", "possibly", "probable", "probably", "likely", "may represent", "might represent",
            "could represent", "may be", "might be", "could be", "may reflect", "might reflect", "could reflect",
            "cannot exclude", "can not exclude", "cannot rule out", "can't exclude", "does not exclude", "do not exclude",
            "not exclude", "not rule out", "can't rule out", "cannot completely exclude", "suspicious for", "suspicion of",
            "suspicion for", "suspected", "suspect", "concerning for", "concern for", "worrisome for", "questionable",
            "question of", "equivocal", "presumed", "presumably", "suggestive of", "suggesting", "suggests", "suggest", "to suggest", "to indicate",
            "may indicate", "may suggest", "perhaps", "apparent", "favor", "favors", "favored to represent", "unlikely",
            "differential includes", "differential diagnosis includes", "differential considerations include",
            "unlikely to represent", "rather than", "most likely", "less likely", "more likely", "likely represents",
            "likely representing", "possibility of", "could indicate", "indeterminate for", "raises concern for",
            "raises the possibility of", "not certain", "uncertain", "vs", "doubtful", "low likelihood of", "potential",
            "cannot definitely exclude", "cannot entirely exclude", "raising the possibility of", "compatible with possible",
            "low probability of", "may have", "may relate to", "may be due to", "could be due to", "not excluding",
        ),
        "doubted": (
            "cannot be excluded", "can not be excluded", "is not excluded", "are not excluded", "not excluded",
            "cannot be ruled out", "not ruled out", "is possible", "are possible", "is suspected", "are suspected",
            "is likely", "is unlikely", "are unlikely", "is probable", "is considered", "is questioned", "less likely",
            "is favored", "not entirely excluded", "cannot be entirely excluded", "not completely excluded", "is doubtful",
            "considered unlikely", "could be considered", "should be considered", "cannot be completely excluded",
            "a possibility", "remains possible", "remains a possibility", "difficult to exclude", "felt unlikely",
        ),
        "doubts or doubted": ("?",),
        "either": ("versus", "vs", "or less likely"),
        "unasserted": (
            "history of", "past history of", "status post", "s / p", "family history of", "h / o", "prior history of",
            "personal history of", "known history of", "past medical history of", "past medical history", "rule out",
            "r / o", "evaluate for", "assess for", "to exclude", "to rule out", "assessment for", "evaluation for",
            "evaluation of possible", "risk of", "risk factors for", "if", "screening for", "treated for", "in case of",
            "mother with", "mother had", "father had", "sister had", "sister with", "family history", "question",
            "recommend evaluation for", "concern was for", "look for", "looking for", "history", "post treatment for",
            "treatment of", "monitor for", "should", "clinical suspicion of", "clinical concern for", "referred for",
            "previously treated", "remote history of", "complains of", "workup for", "prophylaxis for", "had",
        ),
        "unasserted before": ("protocol", "screening", "precautions", "in the family", "in her mother", "in his father"),
        "asserts": (
            "a", "an", "there", "new", "small", "mild", "moderate", "large", "severe", "stable", "unchanged", "persistent",
            "minimal", "trace", "tiny", "with", "the", "but", "this", "however", "bibasilar", "basilar", "multiple",
            "mildly", "several", "few", "one", "two", "three", "increased", "increasing", "interval", "patchy", "worsening",
        ),
        "seen": (
            "is seen", "are seen", "is noted", "are noted", "noted", "is identified", "are identified", "seen", "is present",
            "are present", "is visualized", "identified", "is evident", "is demonstrated", "are demonstrated", "is observed",
            "are visualized", "is visible", "are visible",
        ),
        "verb": (
            "is", "are", "was", "were", "has", "have", "shows", "show", "demonstrates", "demonstrate", "remains", "remain",
            "measures", "measure", "appears", "appear", "reveals", "contains",
        ),
        "with": ("with", "and a", "and an", "associated with", "now", "currently", "today", "still"),
        "end": (
            "but", "however", "although", "though", "except", "except for", "apart from", "aside from", "other than",
            "there is", "there are", "while", "whereas", "which", "yet", "and there is", "and there are", "and the",
            "secondary to", "due to", "because of", "nevertheless", "despite", "presents with", "presenting",
            "presents", "on a background of", "in the setting of", "besides", "consistent with",
            "compatible with", "representing", "in keeping with", ":", "therefore", "who", "and has", "and is",
        ),
        "or": ("or", "nor", "and / or"),
        "and": ("and", "as well as", "&", "plus"),
        "prior": (
            "previously", "prior", "formerly", "compared to", "compared with", "from", "previous", "versus",
            "then", "before", "in comparison to", "initially",
        ),
        "distance": (
            "from the", "above the", "below the", "slice", "slices", "thick", "thickness", "intervals", "collimation",
            "sections", "away from", "deep to", "distal to", "proximal to", "tube", "margin", "margins",
            "within", "cuts", "reconstructions", "larger than", "greater than", "distance", "distance of", "per", "field",
        ),
        "it": ("it", "this", "they", "these", "the largest", "the larger", "size", "measuring", "maximum diameter", "its"),
        "plain": (
            "no change", "no change in", "no changes in", "no increase", "no increase in", "not only", "no interval change",
            "no interval change in", "no significant change", "no significant change in", "no significant interval change",
            "no significant interval change in", "not changed", "no longer than", "not significantly changed", "no matter",
            "no decrease in", "no progression of", "no growth of", "no enlargement of", "not increased", "no larger",
            "no further increase in", "without change", "without interval change", "without significant change", "not large",
            "not resolved", "incompletely resolved", "partially resolved", "partial resolution of", "not completely resolved",
            "no difference in", "without increase in", "without change in", "without difficulty", "unresolved", "no doubt",
            "no interval increase in", "no interval growth of", "no interval enlargement of", "no improvement in",
            "likely unchanged", "likely stable", "left in place", "right now", "not yet resolved", "no resolution of",
            "with no change in", "not enlarged", "no interval decrease in", "not significantly increased", "no doubt about",
            "history of present illness", "not appreciably changed", "has not changed", "have not changed", "if any",
            "not seen previously", "not previously seen", "not seen on the prior", "not present previously", "mass effect upon", "pleural effusion protocol", "effusion protocol", "not as large", "no smaller",
            "cell mass", "body mass index", "muscle mass", "lean mass", "stroke volume", "stroke work", "not only a",
            "bone mass", "gland size", "thyroid gland", "adrenal gland", "adrenal glands", "pituitary gland", "parotid gland", "prostate gland",
            "salivary gland", "salivary glands", "mammary gland", "parotid glands", "adrenals", "fat stranding", "soft tissue windows", "mass spectrometry",
        ),
    },
    sides={
        "left": (
            "left", "left sided", "lul", "lll", "lt", "left lobe of the liver", "left hepatic lobe", "left main", "lingula",
            "lingular", "leftward", "left upper lobe", "left lower lobe", "left lung", "left adrenal",
        ),
        "right": (
            "right", "right sided", "rul", "rll", "rml", "rt", "right lobe of the liver", "right hepatic lobe",
            "right middle lobe", "right lung", "rightward", "right upper lobe", "right lower lobe", "middle lobe",
        ),
        "bilateral": (
            "bilateral", "bilaterally", "both", "both lungs", "on both sides", "bibasilar", "bibasal", "biapical", "both sides",
            "right greater than left", "left greater than right", "right > left", "left > right", "left and right",
            "right and left", "left and the right", "right and the left", "right more than left", "left more than right",
            "either side", "on either side", "l > r", "r > l", "bihilar", "both kidneys", "left or right", "right or left",
            "each lung", "biparietal", "bifrontal", "either lung", "left as well as right", "right as well as left",
            "right upper and left lower lobes", "left upper and right lower lobes",
        ),
        "middle": (
            "mediastinal", "mediastinum", "hepatic", "liver", "spleen", "splenic", "pancreas", "pancreatic", "midline",
            "spine", "vertebral", "sternum", "vertebra", "sternal", "central",
        ),
    },
    counts={
        0: (
            "multiple", "several", "numerous", "many", "scattered", "innumerable", "few", "a few", "multifocal", "some",
            "various", "countless",
        ),
        1: ("single", "solitary", "one"),
        2: ("two", "a pair of", "couple of", "a couple of", "paired"),
        3: ("three",), 4: ("four",), 5: ("five",), 6: ("six",), 7: ("seven",), 8: ("eight",), 9: ("nine",), 10: ("ten",),
    },
)  # fmt: skip
