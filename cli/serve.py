"""`vesalius serve`: images over HTTP until it is told to stop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from vesalius.cli.main import DONE, PARTIAL, print_json

if TYPE_CHECKING:
    from vesalius.inference.service.config import ServeConfig


def serve(config: ServeConfig) -> int:
    """Serve until SIGTERM or Ctrl-C; what was accepted is drawn first. ValueError where address or base cannot be.

    A second signal ends the process at once, with `PARTIAL` where something was being drawn.
    """
    from vesalius.inference.service.config import KEY_VARIABLE
    from vesalius.inference.service.listening import Server, listen, url_of

    key = os.environ.get(KEY_VARIABLE, "").strip() or None
    with listen(config, key) as place:
        from vesalius.inference.drawing.memory import check_attention, plan_row, plan_service
        from vesalius.inference.generator import Generator, find_device
        from vesalius.inference.service.app import LABEL, Service

        check_attention(config.attention, find_device(config.device))
        plan = plan_service(config)
        generator = Generator(
            config.base, config.adapter, scheduler=config.scheduler, device=config.device, precision=config.precision,
            memory=plan, attention=config.attention,
        )  # fmt: skip
        service = Service(generator, config, key, plan)
        url = url_of(place)
        if config.json:
            row = {"url": url, "model": service.model, "key": key is not None, "dry_run": config.dry_run}
            print_json({**row, **({} if plan is None else {"memory": plan_row(plan)})})
        elif config.dry_run:
            print(f"would serve {service.model} at {url}")
        else:
            print(f"{service.model} at {url}/v1 ({LABEL}; Ctrl-C ends it)")
        if plan is not None and not config.json:
            print(plan.line())
        sys.stdout.flush()
        if not config.dry_run:
            Server(service).run(sockets=[place])
        service.close()
        service.batcher.join(timeout=1)
        if service.batcher.alive:  # told twice to stop: Python's own end would abort in the midst of the drawing
            print("vesalius: stopped in the midst of a drawing", file=sys.stderr, flush=True)
            os._exit(PARTIAL)
    return DONE
