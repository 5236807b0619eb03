from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from vesalius.data.images.image import load_stack
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.eval.privacy.membership import (
    TIMES,
    PictureGroup,
    area_with_interval,
    infer_membership,
    losses,
    row_of,
    scores,
    sections,
)
from vesalius.inference.generator import Generator
from vesalius.models.base import open_base
from vesalius.models.objective import denoising_loss, training_scheduler
from vesalius.models.text import embed


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[PictureGroup, PictureGroup]:
    """12 and 24 brain MRI phantoms that differ in nothing but chance."""
    folder = tmp_path_factory.mktemp("members") / "data"
    write_phantoms(PhantomConfig(num=120, seed=11, size=32, out=folder, val=0, test=0, json=True))
    records = [r for r in load_records(folder) if r.modality == "MRI"][:36]
    stack = torch.from_numpy(load_stack([(folder / r.file_name, r.modality) for r in records], 32, quiet=True))

    def group(first: int, last: int) -> PictureGroup:
        rows = records[first:last]
        return PictureGroup(
            images=stack[first:last], texts=[(r.caption or r.text)[:80] for r in rows], modalities=["MRI"] * len(rows),
            patients=[r.patient_id for r in rows],
        )  # fmt: skip

    return group(0, 12), group(12, 36)


def overfitted(tiny_base: Path, members: PictureGroup) -> Generator:
    """A generator whose denoiser learnt the members by heart."""
    base = open_base(str(tiny_base))
    pipeline = base.pipeline
    scheduler = training_scheduler(pipeline.scheduler.config)
    denoiser = pipeline.unet.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=6e-3)
    with torch.no_grad():
        pixels = members.images.float() / 127.5 - 1
        latents = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
        hidden = torch.cat([embed(pipeline, [text], 1)[0] for text in members.texts])
    draw = torch.Generator().manual_seed(0)
    last = scheduler.config.num_train_timesteps - 1
    for _ in range(155):
        timesteps = (
            (torch.tensor(TIMES)[torch.randint(len(TIMES), (len(latents),), generator=draw)] * last).round().long()
        )
        noise = torch.randn(latents.shape, generator=draw)
        condition = [(torch.arange(len(latents)), hidden)]
        denoising_loss(denoiser, scheduler, latents, noise, timesteps, condition).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    denoiser.requires_grad_(False).eval()
    return Generator.around(base, device="cpu", precision="fp32", steps=2)


def test_a_base_that_learnt_its_images_by_heart_is_found_and_an_untouched_one_is_not(
    tiny_base: Path, halves: tuple[PictureGroup, PictureGroup]
) -> None:
    members, others = halves
    untouched = Generator(str(tiny_base), device="cpu")
    found = infer_membership(overfitted(tiny_base, members), members, others, reference=untouched, quiet=True)
    (alone,), (against,), (before,) = found["loss"], found["against_reference"], found["reference"]
    assert alone["auc"]["low"] > 0.5
    assert against["auc"]["low"] > 0.5
    assert before["auc"]["low"] < 0.5 < before["auc"]["high"]
    assert "1 % of them is an image from 100 on" in alone["note"]
    json.dumps(found)
    (section,) = sections(found)
    assert [row[1] for row in section.tables[0].rows][2].startswith("the reference itself")


def test_a_loss_depends_on_the_image_alone(tiny_base: Path, halves: tuple[PictureGroup, PictureGroup]) -> None:
    group, base = halves[0], open_base(str(tiny_base))
    whole = losses(base, group.images, group.texts, quiet=True)
    alone = losses(base, group.images[3:4], group.texts[3:4], batch_size=1, quiet=True)
    assert whole.shape == (12, len(TIMES))
    assert np.allclose(whole[3], alone[0], rtol=1e-4)
    assert not np.allclose(whole[3], whole[4], rtol=1e-3)


def test_the_rate_at_one_percent_of_false_alarms_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1.5, 1, 300), rng.normal(0, 1, 400)
    names = [str(i) for i in range(400)]
    row = row_of("CT", inside, outside, names[:300], names, seed=0)
    false, true, _ = roc_curve(
        np.repeat([1, 0], [300, 400]), np.concatenate([inside, outside]), drop_intermediate=False
    )
    assert row["true_positives"]["value"] == pytest.approx(true[false <= 0.01].max())
    assert row["false_positives"] == pytest.approx(0.01)


def test_the_interval_knows_that_slices_of_one_patient_are_no_many_patients() -> None:
    rng = np.random.default_rng(1)
    inside, outside = (np.repeat(rng.normal(0, 1, 12), 10) for _ in range(2))
    images = [str(i) for i in range(120)]
    patients = [str(i // 10) for i in range(120)]
    each = area_with_interval(inside, outside, images, images)
    whole = area_with_interval(inside, outside, patients, patients)
    assert whole.high - whole.low > 2 * (each.high - each.low)


def test_equal_sets_score_alike_and_no_timestep_outweighs_the_others() -> None:
    rng = np.random.default_rng(2)
    losses = rng.normal(0, 1, (50, 2)) * [1, 1000]
    one, two = scores(losses, losses)
    assert np.array_equal(one, two)
    assert abs(np.corrcoef(two, losses[:, 0])[0, 1]) > 0.5


def test_too_few_images_are_refused_with_their_number(
    tiny_base: Path, halves: tuple[PictureGroup, PictureGroup]
) -> None:
    few = PictureGroup(images=halves[0].images[:9], texts=halves[0].texts[:9], modalities=["MRI"] * 9)
    generator = Generator(str(tiny_base), device="cpu")
    with pytest.raises(ValueError, match="needs 10 training and 10 held-out images of one modality, got 9 and 24"):
        infer_membership(generator, few, halves[1], quiet=True)
    with pytest.raises(ValueError, match="members have 9 images, 8 texts"):
        infer_membership(
            generator, PictureGroup(images=few.images, texts=few.texts[:8], modalities=["MRI"] * 9), few, quiet=True
        )


def test_a_base_whose_loss_is_no_number_is_told_by_the_text(tiny_base: Path) -> None:
    base = open_base(str(tiny_base))
    base.pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    pictures = torch.zeros(1, 3, base.image_size, base.image_size, dtype=torch.uint8)
    with pytest.raises(ValueError, match="the base's loss of 'Brain MRI' is not finite; look whether base and adapter"):
        losses(base, pictures, ["Brain MRI"], quiet=True)
