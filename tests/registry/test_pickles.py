from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from registry import pickles


def runs_code(path: str, data: bytes) -> bool:
    return pickles.runs_code(path, data[: pickles.LOOKED_AT], data[-pickles.LOOKED_AT :])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_told_by_what_is_in_them(protocol: int) -> None:
    assert runs_code("weights.bin", pickle.dumps({"a": [1, 2]}, protocol))


def test_old_ones_are_told_by_their_names() -> None:
    assert runs_code("model.PKL", pickle.dumps({}, 0))
    assert runs_code("model.joblib", b"\x1f\x8b anything compressed")


def test_a_zip_with_a_pickle_in_it() -> None:
    for at_first in (True, False):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            if at_first:
                archive.writestr("model/data.pkl", b"x")
            archive.writestr("model/data/0", b"\0" * 200_000)
            if not at_first:
                archive.writestr("model/data.pkl", b"x")
        assert runs_code("model.pt", made.getvalue())


def test_arrays_of_objects() -> None:
    plain, objects = io.BytesIO(), io.BytesIO()
    np.save(plain, np.zeros(4))
    np.save(objects, np.array([{}, None], dtype=object), allow_pickle=True)
    assert not runs_code("a.npy", plain.getvalue())
    assert runs_code("a.npy", objects.getvalue())


def test_what_runs_nothing_is_not_marked() -> None:
    assert not runs_code("model.safetensors", save({"a": np.zeros(9)}))
    assert not runs_code("config.json", b"{}")
    assert not runs_code("empty", b"")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("model.onnx", b"x")
    assert not runs_code("model.zip", made.getvalue())
