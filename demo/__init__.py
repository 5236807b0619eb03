"""The browser application for educators and raters."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.demo.config import DemoConfig as DemoConfig
    from vesalius.demo.server import launch as launch
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
