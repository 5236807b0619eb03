"""Sentences of reports with invented identifiers, each with what must be gone, and with what must still be there."""

from __future__ import annotations

import re

import pytest

from vesalius.data.scrub.text import scrub_text

# sentence | identifiers that must be gone | words that must stay
ENGLISH = """
Patient: Jane Doe. Chest CT. | Jane; Doe | Chest CT
Patient: DOE, JANE | DOE; JANE |
Patient name: Robert K. Olsen | Robert; Olsen |
Patient's name: Maria Garcia-Lopez | Maria; Garcia; Lopez |
Name: O'Brien, Sean | Brien; Sean |
Name: jane doe | jane; doe |
Name: Jane van der Berg, Findings: normal heart. | Jane; Berg | normal heart
PATIENT NAME: SMITH, JOHN A | SMITH; JOHN; A |
Patient: Jane Doe presents with cough. | Jane; Doe | cough
Pt: Amir Haddad. | Haddad |
Seen by Dr. Smith for cough. | Smith | Seen by the physician for cough
Dr. Smith was informed. | Smith | The physician was informed
Discussed with Dr. Jane A. Smith by phone. | Jane; Smith; A. | by phone
Dr Young reviewed the images. | Young | reviewed the images
DR. PATEL WAS CALLED. | PATEL | WAS CALLED
Drs. Smith and Jones agree. | Smith; Jones | The physicians agree
Prof. Müller saw the patient. | Müller | saw the patient
Professor Okafor saw the slides. | Okafor | saw the slides
Mr. Brown has a cough. | Brown | The patient has a cough
Mrs. Doe's nodule has grown. | Doe | The patient's nodule has grown
Ms. Nguyen has pain in the knee. | Nguyen | pain in the knee
Miss Taylor fell. | Taylor | fell
MR. SMITH HAS A FEVER. | SMITH | HAS A FEVER
seen by dr. smith today | smith | seen by the physician today
seen by dr jones | jones | seen
Referred by Jane Smith for pain. | Jane; Smith | Referred for pain
Referring physician: Alan Grant, MD | Alan; Grant; MD |
Referring Physician: Dr. Alan Grant | Grant |
Attending: Lee, Anna | Lee; Anna |
Radiologist: Kim Novak. No effusion. | Novak | No effusion
Dictated by: K. Novak | Novak |
Electronically signed by Kim Novak, MD | Kim; Novak; MD |
Electronically Signed By: Kim Novak MD | Kim; Novak; MD |
Reported by Susan Calvin. | Calvin |
Verified by John H. Watson, M.D. | Watson |
Transcribed by: P. Otis | Otis |
Technologist: Bob Ross | Ross |
Jane Doe, MD, read the study. | Jane; Doe | read the study
Final report. J. Watson MD | Watson | Final report
Reviewed by Jane Doe, FRCR. | Jane; Doe |
John Smith has a cough. | John; Smith | The patient has a cough
CT of Mary Jones shows a nodule. | Mary; Jones | CT of the patient shows a nodule
The findings were told to Robert Brown. | Robert; Brown | The findings
Next of kin: Ellen Ripley | Ripley |
DOE^JANE had a CT. | DOE; JANE | had a CT
Nurse Miller was called. | Miller | The nurse was called
Surgeon: Dr. Lister. | Lister |
Ordered by Gregory House, MD. | House |
Signed: Anna Karenina | Karenina |
Physician: Dr. ___ | ___ |
MRN: 1234567 | 1234567 |
MRN 00-12-34 was imaged. | 00-12-34 | was imaged
MRN#A998877. Normal chest. | 998877 | Normal chest
Medical record number: 443322 | 443322 |
Accession number: ACC20200304 | 20200304 |
Accession #: 55443322 | 55443322 |
Acc. No. 778899: no mass. | 778899 | no mass
Patient ID: P-10293 | 10293 |
Study ID 99812 | 99812 |
Case number: 22-10931 | 10931 |
Specimen S20-12345, skin. | S20-12345 | skin
SSN: 123-45-6789 | 123-45-6789 |
His number is 123-45-6789. | 6789 | His number
NHS number 943 476 5919 | 943; 5919 |
Account number: 12-345-678 | 345 |
Insurance no. 8877665 | 8877665 |
UID 1.2.840.113619.2.55.3.604688119 | 840.113619 |
Bare number 83749201 here. | 83749201 | here
Serial number: SN-88231-X | 88231 |
Passport number: X1234567 | 1234567 |
Call 555-123-4567 with questions. | 555; 4567 | with questions
Phone: (617) 555-0199. | 617; 0199 |
Tel. +44 20 7946 0958 | 7946; 0958 |
Reach us at +1-212-555-0188. | 0188 | Reach us
Fax: 617.555.0142 | 0142 |
Pager 12345 was tried. | 12345 | was tried
ext. 4432 | 4432 |
Write to jane.doe@hospital.org please. | jane; hospital.org | please
E-mail: jd99@example.co.uk | jd99; example |
See https://www.example.org/doctors/jane-doe for more. | jane; example | for more
See www.jane-doe-md.com. | jane |
Address: 12 Elm Street, Springfield, IL 62704 | Elm; Springfield; 62704 |
Lives at 221 Baker Street, London. | Baker; London | Lives
She lives at 45 West Oak Ave, Boston, MA 02139. | Oak; Boston; 02139 | She lives
From Springfield, IL 62704-1234. | Springfield; 62704 |
P.O. Box 1138, chest pain. | 1138 | chest pain
Home address: Flat 3, Rose Court, Leeds | Rose; Leeds |
Zip code: 02139 | 02139 |
CT on 3/4/2020 shows a mass. | 2020; 3/4 | CT shows a mass
Compared to 03/04/2020, no change. | 2020 | Compared to an earlier date, no change
Compared to the 4 March 2020 CT, no change. | 2020; March | Compared to the earlier CT, no change
Comparison: 3/4/2020. | 3/4 |
MRI of 12 March 2020: normal. | March; 2020 | MRI: normal
Compared to CT from March 4, 2020. | March; 2020 | Compared to CT from
On Monday, March 4, 2020 a CT was done. | March; 2020; Monday | a CT was done
Seen on 4-Mar-2020. | Mar; 2020 |
Seen on 04-MAR-20. | MAR |
Seen on 2020-03-04 at 14:35. | 2020; 14:35 |
Seen 2020-03-04T14:35:22Z. | 2020; 14:35 |
Seen 2020/3/4. | 2020 |
Scan of 20200304, normal. | 20200304 | normal
Surgery on 04.03.2020. | 2020 |
Surgery 3/4/20. | 3/4 |
Surgery 03-04-20, stable. | 03-04 | stable
Last seen in March 2020. | March; 2020 | Last seen
Last seen in March. | March | Last seen
Follow-up since June 2019. | June; 2019 |
Since 5/2019 stable. | 5/2019 | stable
Biopsy on the 4th of March, 2020. | March; 2020; the | Biopsy
Biopsy on March 4th. | March | Biopsy
Seen on 5 May. | May |
DOB: 3/4/1950 | 1950 |
Date of birth: March 4, 1950 | March; 1950 |
DOB 1950 | 1950 |
Date: 12/31/2019 | 2019 |
Exam date: 2019-12-31 10:15 | 2019; 10:15; Exam |
march 4, 2020 chest film | march; 2020 | chest film
MARCH 4, 2020 CHEST | MARCH; 2020 | CHEST
Compared to Jan 3 and Feb 5, 2019. | Jan; Feb; 2019 |
Surgery on 3/4. | 3/4 | Surgery
A 93-year-old woman with a nodule. | 93 | An over-89-year-old woman with a nodule
93 yo man. | 93 | man
A 101 year old man. | 101 | man
Age 93. | 93 | over 89
Age: 95 years. | 95 | over 89
Aged 92, female. | 92 | female
93F with cough. | 93 | with cough
Seen by Dr. ___ on [**2101-3-4**]. | ___; 2101 | Seen by the physician
___ year old man with cough. | ___ | man with cough
Cough for ___ weeks. | ___ | Cough for weeks
[**Hospital 123**] CT: normal. | Hospital; ** | normal
XXXX opacity in the left base. | XXXX | opacity in the left base
Seen on XX/XX/XXXX. | XX | Seen
Compared to <DATE>, stable. | DATE | stable
[NAME] has a cough. | NAME | has a cough
{{PATIENT}} fell. | PATIENT | fell
<PERSON_1> was called at [PHONE]. | PERSON; PHONE | was called
REFERRING MD: Robert Chen  ATTENDING: S. PATEL | Chen; PATEL |
Signed by: LEE, K (Resident) | LEE; K |
CT of 5May2019. | 5May; 2019 | CT
Seen 03.2020, stable. | 2020 | stable
Seen by Dr. A. Smith today. | Smith; A. | Seen by the physician today
Fellow: Dr A B Cee | Cee |
Referring physician: A. Smith | Smith |
Dr. I. M. Pei called. | Pei; I. | called
XXXX-year-old XXXX with dyspnea. | XXXX; year | with dyspnea
[REDACTED] nodule. | REDACTED | nodule
""".strip().splitlines()

CHINESE = """
姓名：张三 性别：男 | 张三 | 性别：男
姓名：张三性别：女年龄：45岁 | 张三 | 年龄：45岁
患者姓名：欧阳娜娜 | 欧阳; 娜娜 |
姓名 李小明 男 45岁 | 李小明 | 45岁
患者：王小红，女，50岁。 | 王小红 | 50岁
患者李某某，男，45岁。 | 李; 某 | 患者，男，45岁
患者李某，咳嗽3天。 | 李; 某 | 咳嗽3天
患者张三，男，咳嗽。 | 张三 | 患者，男，咳嗽
患者张三因咳嗽入院。 | 张三 | 患者因咳嗽入院
患者赵建国来院复查。 | 赵建国 | 来院复查
张某某，女，肺结节。 | 张 | 肺结节
患者陈××，男。 | 陈 | 男
报告医师：李四 | 李四 |
审核医师：王五 检查所见：正常。 | 王五 | 检查所见：正常
申请医生：赵六。 | 赵六 |
送检医师：孙七，科室：外科 | 孙七 | 外科
医师：周八 | 周八 |
操作者：吴九 | 吴九 |
报告人：郑十一 | 十一 |
签名：冯一二 | 冯 |
联系人：陈大文 | 陈大文 |
由张医生会诊。 | 张 | 由医生会诊
请李主任会诊。 | 李 | 请主任会诊
王建国教授阅片。 | 王建国 | 教授阅片
刘主任医师查房。 | 刘 | 主任医师查房
周女士，52岁。 | 周 | 52岁
陈先生咳嗽1周。 | 陈 | 咳嗽1周
住院号：123456 | 123456 |
住院号123456，胸部CT。 | 123456 | 胸部CT
病历号：A-9981 | 9981 |
门诊号 20203344 | 20203344 |
检查号：CT20200304001，左肺结节。 | 20200304001 | 左肺结节
影像号：X99012 | 99012 |
病理号：2020-12345 | 12345 |
登记号：0009918273 | 9918273 |
病案号：778812 | 778812 |
CT号：88213 | 88213 |
床号：12床 | 12; 床 |
身份证号：11010519491231002X | 19491231 |
患者11010519491231002X，男。 | 19491231 | 男
身份证：110105491231002 | 491231 |
医保卡号：A12345678 | 12345678 |
电话：13812345678 | 13812345678 |
手机13912345678，随访。 | 13912345678 | 随访
联系电话：010-62345678 | 62345678 |
联系方式：138 1234 5678 | 5678 |
请拨打13712345678。 | 13712345678 | 请拨打
邮箱：zhangsan@163.com | zhangsan |
住址：北京市朝阳区建国路12号 | 朝阳; 建国路 |
家住上海市浦东新区世纪大道100号，咳嗽。 | 浦东; 世纪 | 咳嗽
地址：广州市天河区幸福小区3栋2单元501室 | 天河; 501 |
邮编：100020 | 100020 |
2020年3月4日胸部CT示结节。 | 2020; 3月 | 胸部CT示结节
于2020年3月4日入院。 | 2020 | 入院
与2020-03-04片比较，结节增大。 | 2020 | 与此前片比较，结节增大
较2020年3月CT无变化。 | 2020; 3月 | CT无变化
3月4日复查。 | 3月4日 | 复查
二〇二〇年三月四日手术。 | 二〇二〇; 三月 | 手术
检查日期：2020年3月4日 14:35 | 2020; 14:35 |
报告时间：2020-03-04 14:35:22 | 2020; 14:35 |
出生日期：1950年3月4日 | 1950 |
出生日期：1950.03.04，男 | 1950; 03 | 男
2020.3.4行手术治疗。 | 2020 | 行手术治疗
自2020年3月4日起咳嗽。 | 2020 | 咳嗽
12年3月4日手术。 | 12年; 3月 | 手术
年龄：93岁 | 93 | 89岁以上
患者，女，95岁。 | 95 | 89岁以上
九十三岁老人。 | 九十三 | 老人
年龄：92，男 | 92 | 男
检查目的：咳嗽___周。 | ___ | 咳嗽
患者[姓名]，胸痛。 | 姓名 | 胸痛
王芳，女，36岁，体检。 | 王芳 | 36岁
主诉：李明，男，45岁，咳嗽。 | 李明 | 咳嗽
患者王芳，36岁。 | 王芳 | 36岁
审核：李强 报告：王磊 | 李强; 王磊 |
患者***，女。 | * | 女
×××医院CT检查。 | × | CT检查
""".strip().splitlines()


def parts(line: str) -> tuple[str, list[str], str]:
    sentence, gone, stays = (part.strip() for part in line.split("|"))
    return sentence, [each for each in gone.split("; ") if each], stays


@pytest.mark.parametrize("line", [*ENGLISH, *CHINESE])
def test_a_sentence_loses_its_identifiers_and_nothing_else(line: str) -> None:
    sentence, gone, stays = parts(line)
    found = scrub_text(sentence)
    assert gone
    for identifier in gone:
        assert identifier in sentence
        assert identifier not in found.text
    assert stays in found.text
    assert found.removed.total() > 0
    assert not re.search(r"\0|  |[,，][,，.。]|[(（][)）]|^[,，.。;]| [,.;]|[:：]$", found.text), found.text


def test_there_are_enough_sentences_and_none_twice() -> None:
    sentences = [parts(line)[0] for line in (*ENGLISH, *CHINESE)]
    assert len(set(sentences)) == len(sentences) >= 150
