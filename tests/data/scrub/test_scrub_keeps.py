"""Sentences of reports that name nobody: scrubbing gives each back as it was."""

from __future__ import annotations

import pytest

from vesalius.data.scrub.text import scrub_text

ENGLISH = """
Hodgkin lymphoma with mediastinal nodes.
Kerley B lines at both bases.
T2 hyperintense lesion in the left frontal lobe.
Disc bulge at L4/L5 and L5/S1.
Degenerative change at C5-C6.
A nodule of 12 mm in the right upper lobe.
A mass of 3 x 4 cm.
Grade 3 invasive ductal carcinoma.
Imaging was done at 1.5 T.
BI-RADS 4, biopsy is advised.
May represent atelectasis or early pneumonia.
March fracture of the second metatarsal.
A Baker cyst behind the knee.
This may be followed in 3 months.
The nodule was first seen 3 months ago.
Unchanged since 2019.
WHO 2021 classification, grade 2.
DR chest, portable, supine.
DR Chest AP View.
MR brain with contrast.
MR Brain With And Without Contrast.
MS plaques in the corpus callosum.
MRS shows a raised choline peak.
The patient is a 45-year-old man.
A 89-year-old woman with a fall.
Age 67, male.
Gleason 3+4=7 in 3/12 cores.
Ki-67 index 20 %, ER 90 %, PR 10 %.
ER 95% and PR 90%, HER2 1+.
Blood pressure 120/80 mmHg.
FOV 220 x 220 mm, TR/TE 2500/90 ms.
Slice thickness 1.25 mm, pitch 0.984.
Series 3, image 45.
See series 4/image 12.
Images 12-15 show the lesion.
T3N1M0 adenocarcinoma of the colon.
Stage IIIB, T4 N2 M0.
pT2 pN0 (0/12).
46,XX karyotype.
47,XXY in all cells.
HU of 35 to 40 in the lesion.
A lesion of 2.5 x 3.1 x 4.0 cm.
Measures 3-4 mm, 5 in number.
The mitotic rate is 10/10 HPF.
Paget disease of the bone.
Ewing sarcoma of the femur.
Wilms tumor of the left kidney.
Crohn disease of the terminal ileum.
Chiari I malformation.
Dandy-Walker malformation.
Sister Mary Joseph nodule at the umbilicus.
Miller Fisher syndrome.
Charcot joint of the ankle.
Schatzki ring in the distal esophagus.
Swan-Ganz catheter ends in the right pulmonary artery.
A Dobhoff tube ends in the stomach.
Foley catheter in the bladder.
Jackson-Pratt drain on the left.
Port-A-Cath in place.
Schmorl nodes at T11 and T12.
Cobb angle of 23 degrees.
Fleischner criteria: follow-up in 6 to 12 months.
Bosniak IIF cyst of the right kidney.
PI-RADS 5 lesion in the peripheral zone.
LI-RADS 3 in segment 7/8.
TI-RADS 4, 1.2 cm.
Lung-RADS 2.
Fazekas 2 changes of white matter.
ASPECTS 8 on the left.
Findings: The lungs are clear. No effusion.
FINDINGS: Heart size is normal.
IMPRESSION: No acute disease.
Indication: Cough for 3 weeks.
Comparison: None.
Technique: Axial CT of the chest, 5 mm.
History: 45 M with chest pain.
Clinical history: Fall from a ladder.
Patient: Normal position, supine.
Patient: Female, 45 years.
Name of the procedure: CT of the abdomen.
Procedure name: CT Abdomen With Contrast.
Reviewed by Radiology.
Read by the attending.
Seen by Cardiology in the clinic.
The referring physician: none stated.
The doctor was informed.
Contact precautions.
Contact: the lesion touches the pleura.
Mother: no breast cancer.
Father: Diabetes at 60.
The patient was positioned supine.
Patient Position: Supine.
Chest CT with a 20 mm nodule in the left lung.
Brain MRI with a mass on the left.
H&E stain, 40x.
CD20+, CD3-, CD10+, BCL2+, BCL6+.
S100 and Melan-A are positive.
p53 in 80 % of the nuclei.
Mean ADC of 0.75 x 10^-3 mm2/s.
PSA 4.5 ng/mL, 12.3 before.
Platelets 250,000/uL.
WBC 12000 per uL.
1 of 3 nodes is involved.
Fracture of ribs 4-7 on the left.
Grade 2/3 tear of the ligament.
Ejection fraction of 55-60 %.
The tube ends 3.5 cm above the carina.
Dose 120 kVp, 200 mAs.
99 mm from the nipple.
Aged 90 days, a term infant.
Survival at 95 months.
A 12-week scan, CRL 55 mm.
In the region of interest, SUV 9.5.
CT at 1/2 dose.
The April of life is no date here.
Mark the lesion, then grant access.
Will be seen in the clinic.
St. Jude valve in aortic position.
No change on 3 of 5 slices.
Compared to the previous study, no change.
On the left there is a plate; on the right there is none.
A tracheostomy tube is in place (unchanged).
Right: no lesion. Left: a cyst.
Note: limited by motion.
Exam: CT Head.
Type: adenocarcinoma, NOS.
Case 12.
Blocks A1-A4, slides 1 to 8.
Voxels of 0.9 x 0.9 x 1.0 mm.
Window 1500, level -600.
Phone camera image of the slide.
The ID is not readable.
Identity of the lesion is unclear.
Technique: 5/5/5 mm; ratio 1/2/3.
PI-RADS v2.1 2019, ISUP 2014.
The tip is at T4/5/6.
Contrast: Omnipaque 350 100 mL.
Siemens Somatom 64, kVp 120, DLP 345.6.
Ward 7B, bed 12.
PA chest X-ray of a male patient with COVID-19, 13 days after admission.
COVID 19 pneumonia, OVID-7.
Patient: M.
Patient: 45 M
Physician: unknown.
Lesion 5/6/2 x 3 cm.
Mass 3/4/20 mm.
James Ewing sarcoma.
Accession of fluid in the pleura.
""".strip().splitlines()

CHINESE = """
左肺上叶见一枚结节，直径约1.8 cm。
右肺下叶见磨玻璃影，大小约12 mm×8 mm。
双肺纹理增多，未见实变。
心影增大，主动脉迂曲。
患者，男，45岁，咳嗽3天。
患者高热3天，咳嗽。
患者黄疸1周。
患者曾于外院手术。
患者方能平卧。
患者因咳嗽来诊。
患者：男，60岁。
患者：女性。
患者老年男性，胸痛2小时。
姓名：不详。
医师：会诊。
检查所见：左侧胸腔积液。
诊断印象：左肺上叶结节，建议随访。
检查方法：CT平扫，层厚5 mm。
3个月前发现肺结节。
术后2周复查。
病史3年2个月。
2019年发现高血压。
较前片无明显变化。
与前次检查比较，结节增大。
年龄45岁，男性。
年龄89岁。
L4/5椎间盘突出。
C5-6椎间盘膨出。
T12椎体压缩性骨折。
T1WI低信号，T2WI高信号。
DWI呈高信号，ADC值约0.75。
BI-RADS 4类，建议穿刺。
肝左叶见囊肿，大小约3×4 cm。
霍奇金淋巴瘤累及纵隔。
贝克囊肿。
克氏针固定术后。
帕金森病。
胃窦部溃疡，活检3块。
浸润性导管癌，Ⅱ级。
Ki-67约20%，ER（90%+）。
HER2（1+），P53（+）。
免疫组化：CD20（+），CD3（-）。
镜下所见：腺体排列紊乱。
淋巴结0/12转移。
建议请上级医师会诊。
高级医师会诊意见同前。
任何医生均可判读。
住院医师查房。
主任医师查房。
医生建议随访。
何时复查由门诊决定。
由于某种原因未完成。
某些区域信号不均。
左侧第4-7肋骨骨折。
时有胸闷，平素体健。
肺部CT示双肺多发结节。
脑部MRI示左侧额叶占位。
气管居中，纵隔未见肿大淋巴结。
胆囊壁增厚，内见结石。
建议3个月后复查。
窗宽1500，窗位-600。
图像质量差，呼吸运动伪影。
HE染色，×400。
第3腰椎前滑脱Ⅰ度。
主动脉弓钙化。
右肾结石0.5 cm。
白细胞12000，血小板250。
住院期间病情平稳。
电话随访，未见复发。
报告：陈旧性骨折。
患者张口受限，男性。
患者白内障，男，60岁。
黄韧带增厚，男，50岁。
老年，女，咳嗽。
地址不详。
""".strip().splitlines()


@pytest.mark.parametrize("sentence", [*ENGLISH, *CHINESE])
def test_a_sentence_that_names_nobody_stays_as_it_is(sentence: str) -> None:
    assert scrub_text(sentence).text == sentence


def test_there_are_enough_sentences_and_none_twice() -> None:
    sentences = [*ENGLISH, *CHINESE]
    assert len(set(sentences)) == len(sentences) >= 150
