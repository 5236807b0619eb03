from __future__ import annotations

import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin_min

from vesalius.eval.privacy import nearest as module
from vesalius.eval.privacy.nearest import nearest, nearest_few


def features(seed: int, num: int, width: int = 16, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(num, width, generator=torch.Generator().manual_seed(seed)) + shift


def test_it_finds_what_scikit_learn_finds_however_small_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = features(0, 70, shift=50.0), features(1, 90, shift=50.0)
    at, far = pairwise_distances_argmin_min(one.double().numpy(), two.double().numpy())
    for rows, columns in ((1024, 4096), (16, 7)):
        monkeypatch.setattr(module, "ROWS", rows)
        monkeypatch.setattr(module, "COLUMNS", columns)
        distances, indices = nearest(one, two)
        assert indices.tolist() == at.tolist()
        assert distances.tolist() == pytest.approx(far.tolist(), rel=1e-6)


def test_an_exact_copy_lies_at_no_distance() -> None:
    references = features(0, 50, 300, shift=100.0)
    distances, indices = nearest(references[[9, 3]], references)
    assert indices.tolist() == [9, 3]
    assert distances.tolist() == [0, 0]


def test_the_own_patient_is_passed_over_and_an_unknown_one_is_not() -> None:
    references = torch.tensor([[0.0], [1.0], [5.0]])
    distances, indices = nearest(
        torch.tensor([[0.0], [0.0], [0.0]]), references,
        query_patients=["a", None, "b"], reference_patients=["a", None, "b"],
    )  # fmt: skip
    assert indices.tolist() == [1, 0, 0]
    assert distances.tolist() == [1, 0, 0]


def test_where_nothing_is_left_the_distance_is_infinite() -> None:
    only = torch.zeros(1, 2)
    for told in ({"same": True}, {"query_patients": ["a"], "reference_patients": ["a"]}):
        distances, indices = nearest(only, only, **told)  # type: ignore[arg-type]
        assert distances.isinf().all()
        assert indices.tolist() == [-1]
    assert nearest(only, torch.zeros(0, 2))[0].isinf().all()


def test_a_picture_is_not_its_own_neighbour() -> None:
    distances, indices = nearest(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([[0.0], [1.0], [9.0]]), same=True)
    assert indices.tolist() == [1, 0, 1]
    assert distances.tolist() == [1, 1, 8]


def test_the_few_nearest_are_told_with_their_views_however_small_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, references = [features(i, 9) for i in (0, 1)], [features(i, 20) for i in (2, 3, 4)]
    every = torch.stack([torch.cdist(q, r) for q in queries for r in references])  # [6, 9, 20]
    least, pair = every.min(0)
    wanted = least.topk(5, largest=False)
    for rows, columns in ((1024, 4096), (4, 3)):
        monkeypatch.setattr(module, "ROWS", rows)
        monkeypatch.setattr(module, "COLUMNS", columns)
        found = nearest_few(queries, references, 5)
        assert found.places.tolist() == wanted.indices.tolist()
        assert torch.allclose(found.squares.sqrt(), wanted.values, atol=1e-4)
        assert (found.of_query * 3 + found.of_reference).tolist() == pair.gather(1, wanted.indices).tolist()
