"""Samples to scores, metrics, verdicts, and one honest page."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.eval.config import EvalConfig as EvalConfig
    from vesalius.eval.explanations.config import ExplainConfig as ExplainConfig
    from vesalius.eval.explanations.finding_maps import gradcam as gradcam
    from vesalius.eval.explanations.run import explain as explain
    from vesalius.eval.explanations.word_maps import attention_maps as attention_maps
    from vesalius.eval.fidelity.part import compare_features as compare_features
    from vesalius.eval.gates.gates import Limit as Limit
    from vesalius.eval.gates.gates import Thresholds as Thresholds
    from vesalius.eval.gates.gates import Verdict as Verdict
    from vesalius.eval.gates.gates import calibrate as calibrate
    from vesalius.eval.gates.gates import judge_sample as judge_sample
    from vesalius.eval.gates.scorer import Scorer as Scorer
    from vesalius.eval.gates.scores import Case as Case
    from vesalius.eval.gates.scores import case_of_record as case_of_record
    from vesalius.eval.gates.scores import case_of_sample as case_of_sample
    from vesalius.eval.obedience.questions import measure_obedience as measure_obedience
    from vesalius.eval.obedience.questions import networks as networks
    from vesalius.eval.pixels.compare import compare as compare
    from vesalius.eval.pixels.config import CompareConfig as CompareConfig
    from vesalius.eval.pixels.image_metrics import compare_images as compare_images
    from vesalius.eval.privacy.copies import Original as Original
    from vesalius.eval.privacy.copies import Suspect as Suspect
    from vesalius.eval.privacy.limits import PictureSet as PictureSet
    from vesalius.eval.privacy.limits import find_copies as find_copies
    from vesalius.eval.privacy.membership import PictureGroup as PictureGroup
    from vesalius.eval.privacy.membership import infer_membership as infer_membership
    from vesalius.eval.readers.config import ReadersMakeConfig as ReadersMakeConfig
    from vesalius.eval.readers.config import ReadersScoreConfig as ReadersScoreConfig
    from vesalius.eval.readers.report import score_study as score_study
    from vesalius.eval.readers.study import StudySummary as StudySummary
    from vesalius.eval.readers.study import make_study as make_study
    from vesalius.eval.run import evaluate as evaluate
    from vesalius.eval.usefulness.config import UsefulnessConfig as UsefulnessConfig
    from vesalius.eval.usefulness.run import measure_usefulness as measure_usefulness
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
