"""The latent diffusion model, the networks that judge and measure, and the folders they live in."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.models.adapters.adapter import AdapterCard as AdapterCard
    from vesalius.models.adapters.adapter import apply_adapter as apply_adapter
    from vesalius.models.adapters.adapter import read_card as read_card
    from vesalius.models.adapters.check import AdapterReport as AdapterReport
    from vesalius.models.adapters.check import check_adapter as check_adapter
    from vesalius.models.adapters.config import AdapterCheckConfig as AdapterCheckConfig
    from vesalius.models.adapters.config import AdapterExportConfig as AdapterExportConfig
    from vesalius.models.adapters.config import AdapterFuseConfig as AdapterFuseConfig
    from vesalius.models.adapters.config import AdapterMergeConfig as AdapterMergeConfig
    from vesalius.models.adapters.export import AdapterExport as AdapterExport
    from vesalius.models.adapters.export import export_adapter as export_adapter
    from vesalius.models.adapters.fuse import AdapterFuse as AdapterFuse
    from vesalius.models.adapters.fuse import fuse_adapter as fuse_adapter
    from vesalius.models.adapters.merge import AdapterMerge as AdapterMerge
    from vesalius.models.adapters.merge import merge_adapters as merge_adapters
    from vesalius.models.base import Base as Base
    from vesalius.models.base import open_base as open_base
    from vesalius.models.detectors.detector import DETECTORS as DETECTORS
    from vesalius.models.detectors.detector import Detector as Detector
    from vesalius.models.detectors.source import open_detector as open_detector
    from vesalius.models.networks.judge import Judge as Judge
    from vesalius.models.networks.reader import Reader as Reader
    from vesalius.models.networks.reader import Reading as Reading
    from vesalius.models.networks.witness import Witness as Witness
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
