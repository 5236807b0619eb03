"""The loop: generate, score, gate, add back, fine-tune, promote or roll back."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.improve.asking.ask import Ask as Ask
    from vesalius.improve.asking.hard import hard_prompts as hard_prompts
    from vesalius.improve.config import ApproveConfig as ApproveConfig
    from vesalius.improve.config import ImproveConfig as ImproveConfig
    from vesalius.improve.config import ResumeConfig as ResumeConfig
    from vesalius.improve.config import RollbackConfig as RollbackConfig
    from vesalius.improve.loop import improve as improve
    from vesalius.improve.people.ratings import Rating as Rating
    from vesalius.improve.people.ratings import read_ratings as read_ratings
    from vesalius.improve.people.review import approve as approve
    from vesalius.improve.people.review import rollback as rollback
    from vesalius.improve.resuming import settled_config as settled_config
    from vesalius.improve.telling.show import show_round as show_round
    from vesalius.improve.telling.status import read_status as read_status
else:
    from vesalius.data.command.exports import exports

    __all__, __getattr__, __dir__ = exports(__name__)
