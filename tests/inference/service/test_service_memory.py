"""A service within a budget of memory: it draws what there is room for, and refuses the rest."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from vesalius.inference.drawing.memory import plan_service
from vesalius.inference.generator import Generator
from vesalius.inference.service.app import Service, build_service
from vesalius.inference.service.config import ServeConfig

PROMPT = "Chest CT with a nodule in the left lung."


def test_what_there_is_no_room_for_is_refused(tiny_base: Path) -> None:
    config = ServeConfig(base=str(tiny_base), memory="3GB", scheduler="euler", precision="fp32", port=0)
    plan = plan_service(config)
    assert plan is not None
    assert plan.budget == 3 * 10**9
    generator = Generator(str(tiny_base), scheduler="euler", memory=plan)
    service = Service(generator, config, memory=plan)
    client = TestClient(build_service(service))
    usual = {"prompt": PROMPT, "steps": 2, "seed": 7}
    answer = client.post("/v1/images/generations", json=usual).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))) as picture:
        assert json.loads(picture.text["vesalius"])["scheduler"] == "euler"  # type: ignore[attr-defined]
        want = Generator(str(tiny_base), scheduler="euler").draw(PROMPT, seed=7, steps=2)[0][..., 0]
        assert np.abs(np.asarray(picture).astype(int) - want.astype(int)).max() <= 1
    for fields in ({"size": "48x32"}, {"prompt": "Chest CT. " + "nodule and mass " * 120}):
        refused = client.post("/v1/images/generations", json={**usual, **fields})
        assert refused.status_code == 400
        assert "within a budget of memory: pictures of up to 32x32" in refused.json()["error"]["message"]
    service.close()


def test_a_service_without_a_budget_has_no_plan(tiny_base: Path) -> None:
    assert plan_service(ServeConfig(base=str(tiny_base))) is None
    with pytest.raises(ValueError, match="too little"):
        plan_service(ServeConfig(base=str(tiny_base), memory="1MB"))
