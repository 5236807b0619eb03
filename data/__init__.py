"""Records in: images and their texts from any known source, as one checked dataset folder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.data.building.config import BuildConfig as BuildConfig
    from vesalius.data.building.run import BuildSummary as BuildSummary
    from vesalius.data.building.run import build_dataset as build_dataset
    from vesalius.data.check.run import CheckConfig as CheckConfig
    from vesalius.data.check.run import CheckSummary as CheckSummary
    from vesalius.data.check.run import check_dataset as check_dataset
    from vesalius.data.datasets.filter import FilterConfig as FilterConfig
    from vesalius.data.datasets.filter import filter_dataset as filter_dataset
    from vesalius.data.datasets.merge import MergeConfig as MergeConfig
    from vesalius.data.datasets.merge import MergeSummary as MergeSummary
    from vesalius.data.datasets.merge import merge_datasets as merge_datasets
    from vesalius.data.datasets.sample import SampleConfig as SampleConfig
    from vesalius.data.datasets.sample import SampleSummary as SampleSummary
    from vesalius.data.datasets.sample import sample_dataset as sample_dataset
    from vesalius.data.datasets.shards import ExportConfig as ExportConfig
    from vesalius.data.datasets.shards import ExportSummary as ExportSummary
    from vesalius.data.datasets.shards import export_shards as export_shards
    from vesalius.data.findings.read import Mention as Mention
    from vesalius.data.findings.read import as_findings as as_findings
    from vesalius.data.findings.read import findings_in as findings_in
    from vesalius.data.images.image import Picture as Picture
    from vesalius.data.images.image import read_hu as read_hu
    from vesalius.data.images.image import read_image as read_image
    from vesalius.data.images.image import read_recipe as read_recipe
    from vesalius.data.images.image import write_png as write_png
    from vesalius.data.modality import MODALITIES as MODALITIES
    from vesalius.data.modality import Modality as Modality
    from vesalius.data.modality import find_modality as find_modality
    from vesalius.data.phantoms.config import PhantomConfig as PhantomConfig
    from vesalius.data.phantoms.phantom import Phantom as Phantom
    from vesalius.data.phantoms.phantom import draw_phantom as draw_phantom
    from vesalius.data.phantoms.phantom import write_phantoms as write_phantoms
    from vesalius.data.record import Finding as Finding
    from vesalius.data.record import Record as Record
    from vesalius.data.record import load_records as load_records
    from vesalius.data.record import stream_records as stream_records
    from vesalius.data.record import write_dataset as write_dataset
    from vesalius.data.scrub.text import Scrubbed as Scrubbed
    from vesalius.data.scrub.text import scrub_text as scrub_text
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
