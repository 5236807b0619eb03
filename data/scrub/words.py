"""What scrubbing knows of language: labels and titles before names, and words that look like names and are none."""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


PLAIN = _set(
    "a abdomen abdominal abnormal about above absent accession acute addendum additional address adult advised "
    "after age aged ago alcohol alert all allergies also am an and ankle anterior any aorta apex appears approved "
    "are artery as assessment at atlas attending available axial axis back barium basal base because been before "
    "below benign between bilateral biopsy birth bladder block blood body bone bones both bowel brain breast "
    "bronchial by calcified cancer cardiac cardiology case centre cervical chest child chronic clear clinic "
    "clinical cm colon comparison complains complaint conclusion consistent consultant consulted contact contrast "
    "coronal correlate correlation cough cranial cross ct cxr cyst date deep dense department description "
    "diagnosis dictated did difficult discharge discussed disease dob doctor dr edema effusion elbow "
    "electronically email emergency enhanced er evaluation exam examination excision extremity f fall family fat "
    "father fax female femoral femur fever final finding findings fine fluid follow followed followup foot for "
    "fracture from frontal full further gallbladder gender general gross had hand has have head heart hematology "
    "her high hilar hilum hip his history hospital icu id identified identity if image images imaging impression "
    "in increased indication infant inferior information informed initial inpatient internal interpreted interval "
    "into intubated is it its kidney knee known large last lateral left lesion limited liver lobe location low "
    "lower lumbar lung lungs lymph m male man marrow mass may md medial medical medicine metastatic microscopy "
    "mid middle mild minimal missing moderate mother motion movement moving mr mri mrn multiple my n/a na name "
    "neck negative new newborn no node nodule none normal not note notes nothing notified now number nurse of old "
    "on oncology one operator optic or oral order orthopaedics orthopedics other our outpatient over pain "
    "pancreas pathologist pathology patient pelvis per performed pet phd phone physician pleural pm pneumonia "
    "poor portable position positioned positioning possible post posterior practitioner pregnant preliminary "
    "present presented presents previous prior procedure prone prostate provider pulmonary quality radiograph "
    "radiography radiologist radiology ray reason recommend record redacted referred referring related relevant "
    "removed renal report reported requested resident result reviewed right rn room routine sagittal same sample "
    "scan scout section see seen self series service severe sex she shoulder signed sinus site skin skull slide "
    "small specimen spine spleen stable staff stage staging status stomach study superior supine surgeon surgery "
    "surgical suspected symptoms team technician technique technologist tel telephone test thank the there "
    "therefore they this thoracic thorax thyroid tissue to transcribed trauma tumor tumour ultrasound unable "
    "unavailable under unit unknown unremarkable upon upper uro urology us uterus vascular vein verified vertebra "
    "view views was we weight were when which white who with withheld without woman wrist x xray year years yes "
    "you young your"
)
"""Words that reports begin with a capital and that a name ends before."""
FUNCTION = _set(
    "a an and as at by for from has have he her his if in is it no not of on or report she that the they to was were "
    "who will with"
)
"""The few of them that may follow a title, behind which Young, May and Small are names."""
LAY_TITLES = ("mr", "mrs", "ms", "miss", "mx")

GIVEN = _set(
    "James John Robert Michael William David Richard Joseph Thomas Christopher Daniel Matthew Anthony Steven Andrew "
    "Kenneth Joshua Kevin Brian George Edward Ronald Timothy Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan "
    "Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Patrick Alexander Jack Dennis Jerry Tyler Aaron Jose "
    "Nathan Henry Peter Adam Zachary Walter Kyle Harold Carl Jeremy Gerald Keith Roger Arthur Terry Lawrence Sean "
    "Christian Ethan Albert Jesse Willie Billy Bryan Bruce Noah Jordan Dylan Ralph Roy Alan Wayne Eugene Juan Gabriel "
    "Louis Russell Randy Vincent Philip Bobby Johnny Bradley Mary Patricia Jennifer Linda Elizabeth Barbara Susan "
    "Jessica Sarah Karen Lisa Nancy Betty Sandra Margaret Ashley Kimberly Emily Donna Michelle Carol Amanda Melissa "
    "Deborah Stephanie Rebecca Sharon Laura Cynthia Dorothy Amy Kathleen Angela Shirley Brenda Emma Anna Pamela Nicole "
    "Samantha Katherine Christine Helen Debra Rachel Carolyn Janet Maria Catherine Heather Diane Olivia Julie Joyce "
    "Victoria Ruth Lauren Kelly Christina Joan Evelyn Judith Andrea Hannah Megan Cheryl Jacqueline Martha "
    "Madison Teresa Gloria Sara Janice Ann Kathryn Abigail Sophia Frances Jean Alice Judy Isabella Julia Denise Amber "
    "Danielle Marilyn Beverly Charlotte Natalie Theresa Diana Brittany Doris Kayla Alexis Lori Marie Jane Sophie Lucy "
    "Mohammed Muhammad Ahmed Fatima Ali Hassan Carlos Luis Miguel Pedro Ana Carmen Hans Klaus Jürgen Pierre Jacques "
    "Giovanni Giuseppe Ivan Olga Anil Raj Priya Sanjay Wei Hiroshi Yuki"
)
"""Given names; one of them before a capitalised word is a name without a label."""
EPONYMS = (
    "syndrome|disease|signs?|cysts?|lines?|fractures?|tumou?rs?|lymphoma|nodes?|nodules?|scores?|scale|grad(?:e|ing)|"
    "classification|criteria|angles?|tests?|murmur|drains?|catheters?|tubes?|stain(?:ing)?|contracture|deformity|"
    "procedure|operation|technique|manoeuvre|maneuver|pupils?|ligaments?|pouch|space|triangle|canal|duct|foramen|"
    "fascia|muscle|reflex|law|method|view|position|palsy|chorea|anomaly|malformation|lesions?|bodies|cells?|effect|"
    "phenomenon|rule|staging|stage|index|ring|hernia|ulcer|oesophagus|esophagus|thyroiditis|sarcoma|carcinoma|nevus|"
    "lobe|repair|clamp|filter|stent|graft|shunt|pump|frame|nails?|pins?|plates?|wires?|rods?|screws?"
)
"""What stands behind a name that is no person's."""

# In each alternation a phrase stands before those that it begins with.
NAME_LABELS = (
    r"(?:patient|pt|client|full|first|last|family|given|middle|maiden|mother|father)(?:['’]s)?[ ]names?|patient|pt\.?|"
    r"names?|surname|forename|next[ ]of[ ]kin|emergency[ ]contact|contact(?:[ ]person)?|guardian|spouse|mother|father|"
    r"(?:(?:referring|ordering|attending|requesting|reporting|primary|consulting|responsible|performing|supervising|"
    r"admitting|family|signing|interpreting|reading)[ ])?"
    r"(?:physician|doctor|radiologist|pathologist|surgeon|clinician|provider|consultant|technologist|technician|"
    r"sonographer|resident|md|fellow|gp|dictator|author|operator|attending|nurse)s?(?:[ ]name)?|"
    r"(?:electronically[ ])?(?:referred|signed|dictated|verified|approved|transcribed|read|interpreted|reviewed|"
    r"performed|reported|requested|ordered|authori[sz]ed|finali[sz]ed|prepared|examined|seen|authenticated|entered|"
    r"typed)[ ]by|signature|signed"
)
WEAK_LABELS = ("mother", "father", "spouse", "guardian", "contact", "operator", "author")
"""Labels behind which one capitalised word may be anything."""
BY_VERBS = (
    "referred|signed|dictated|verified|approved|transcribed|read|interpreted|reviewed|reported|requested|ordered|"
    "authori[sz]ed|finali[sz]ed|prepared|authenticated|entered|typed|seen|examined|performed"
)
CREDENTIALS = (
    r"M\.?D\.?|MBBS|MBChB|MB[ ]BS|FRCR|FRCPath|FRCP|FRCS|MRCP|FACR|FCAP|Ph\.?D\.?|D\.O\.|R\.?N\.?|NP|PA-C|ARRT|RDMS"
)
NUMBER_LABELS = (
    r"(?:(?:patient|pt|hospital|study|exam(?:ination)?|case|specimen|sample|visit|encounter|order|requisition|medical|"
    r"chart|unit|person|report|subject|national|insurance|member|health|passport|hn)[ ]?)"
    r"(?:record[ ]?)?(?:id(?:entifier)?|no\.?|number|num\.?|nr\.?|\#)|"
    r"mrn|m\.r\.n\.|mr[ ]?(?:no\.?|number|\#)|accession(?:[ ](?:no\.?|number|num\.?|id|\#))?|"
    r"acc(?:n)?\.?[ ]?(?:no\.?|number|\#)|acc|"
    r"ssn|social[ ]security(?:[ ](?:no\.?|number))?|nhs(?:[ ](?:no\.?|number))?|chi[ ]number|"
    r"(?:account|policy|licen[cs]e|serial|certificate|passport|identity[ ]card|id[ ]card|insurance)"
    r"(?:[ ](?:no\.?|number|num\.?|\#))|passport|s/n|id|uid|(?:surgical[ ])?pathology[ ](?:no\.?|number|\#)"
)
PHONE_LABELS = (
    r"(?:tele)?phone(?:[ ](?:no\.?|number))?|tel\.?|mobile(?:[ ](?:no\.?|number))?|cell(?:[ ]phone)?|"
    r"fax(?:[ ](?:no\.?|number))?|pager|beeper|ext(?:ension|n)?\.?|bleep|whatsapp|wechat|"
    r"call(?:[ ]back)?(?:[ ](?:at|on|number))?"
)
DATE_LABELS = (
    r"date[ ]of[ ](?:birth|exam(?:ination)?|study|service|admission|discharge|report|procedure|surgery|collection)|"
    r"(?:exam(?:ination)?|study|report|service|admission|discharge|birth|collection|procedure|scan)[ ](?:date|time)|"
    r"(?:date|time)(?:[ ]?/[ ]?time)?|birthdate|d\.?o\.?b\.?|born(?:[ ]on)?|"
    r"(?:出生|检查|报告|送检|收到|采集|采样|审核|入院|出院|手术|登记|申请|打印|签发|拍片|扫描)(?:日期|时间|年月日?)|"
    r"日期|时间|生日"
)

SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱林何郭罗梁宋郑谢韩唐冯董萧程曹袁邓许傅沈彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏锺钟汪田任姜"
    "范姚谭廖邹熊陆郝孔崔邱秦江史顾侯邵孟龙万段雷钱汤尹黎武乔贺赖龚庞樊兰殷施陶洪翟颜倪严牛俞章鲁葛韦毕聂焦柳邢路岳"
    "齐梅莫庄辛涂祝耿凌甘涛童欧柯阮霍詹"
)
"""Surnames that begin no everyday word of reports."""
SURNAMES_TOO = SURNAMES + "高曾于左全管申查常时方石金白马安康温易向华毛单连包平毋闫肖覃费喻谷关房苗尚米吉柴佟"
"""With those that do: enough where a label or 某 stands beside them."""
DOUBLE_SURNAMES = "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|长孙|令狐|夏侯|司徒"
ZH_NAME_LABELS = (
    "(?:患者|病人|病员|受检者|家属|联系人|母亲|父亲|孕妇|产妇)?(?:的)?(?:姓名|名字)|患儿|患者|病人|受检者|联系人|家属|监护人|"
    "(?:报告|审核|检查|申请|诊断|送检|主治|主任|副主任|主管|管床|经治|经管|住院|手术|麻醉|影像|放射|病理|超声|复核|会诊|"
    "初诊|值班|责任|记录|接诊|开单|阅片|书写|操作|取材|制片)?(?:医师|医生|技师|护士|大夫|药师)(?:签名|签字|姓名)?|"
    "(?:报告|审核|检查|申请|诊断|送检|操作|记录|复核|书写|登记|录入|取材|制片)(?:者|人|员)|签名|签字|术者|主刀|助手|录入"
)
ZH_NOT_NAMES = _set(
    "男 女 男性 女性 未知 不详 无 暂无 老年 老年人 青年 中年 成人 儿童 婴儿 新生儿 同上 匿名 保密 本人 配合 不配合 "
    "清醒 仰卧 仰卧位 俯卧位 侧卧位 昏迷 同前 体检 门诊 住院 急诊 放射科 超声科 病理科 影像科 内科 外科 骨科 儿科 "
    "会诊 建议 正常 异常 平卧 坐位 已签字 已签名 咳嗽 发热 胸痛 头痛 腹痛 外伤 术后 复查 随访"
)
ZH_TITLES = (
    "主任医师|主治医师|住院医师|副主任医师|副主任|主任|教授|医师|医生|大夫|护士长|护士|技师|院长|先生|女士|小姐|"
    "老师|同志"
)
ZH_NOT_BEFORE_TITLES = _set("任何 高级 何种 何位 何")
ZH_NUMBER_LABELS = (
    "(?:患者|病人)?(?:住院|门诊|病历|病案|检查|影像|放射|病理|登记|申请单?|就诊|就诊卡|诊疗卡|医保卡?|社保卡?|身份证|证件|护照|"
    "军官证|标本|条码|流水|超声|核磁|体检|床位?|片|X线|ID|CT|MR|MRI|DR|PACS|HIS|检验|报告|样本|切片|蜡块|卡|条形码|患者|病人|"
    "序列?)(?:号码?|编号|ID)|编号|身份证(?:号码)?|ID|登记流水号"
)
ZH_PHONE_LABELS = (
    "(?:联系|家庭|手机|移动|办公|科室|住宅|家属)?电话(?:号码?)?|手机(?:号码?)?|联系方式|传真|座机|微信(?:号)?|QQ(?:号)?"
)
ZH_ADDRESS_LABELS = "(?:家庭|现|通讯|联系|工作|户籍|居住|常住|户口)?(?:住址|地址|所在地)|籍贯|工作单位|出生地"
ADDRESS_LABELS = r"(?:home|mailing|postal|street|work|current|permanent|patient)?[ ]?address|residence"
PLACEHOLDERS = (
    "NAME|FIRST_?NAME|LAST_?NAME|PATIENT|DOCTOR|PHYSICIAN|PERSON|STAFF|DATE|DATES|TIME|DOB|AGE|LOCATION|LOC|HOSPITAL|"
    "ORGANIZATION|ORG|FACILITY|INSTITUTION|CITY|STATE|ZIP|ADDRESS|STREET|PHONE|FAX|EMAIL|URL|ID|MRN|SSN|ACCESSION|"
    "NUMBER|REDACTED|REMOVED|WITHHELD|DE-?IDENTIFIED|ANONYMI[SZ]ED|PHI|PII|VENDOR|HCW|UNIQUE|CONTACT|USERNAME|"
    "姓名|患者|日期|时间|医院|医生|医师|电话|地址|住院号|已脱敏|脱敏|隐去|已隐去"
)
