"""A folder of masks as supervision's detections and as a data set of datasets."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from made_masks import CLASSES, Made

from pseudomask.bridges import detections, to_dataset
from pseudomask.errors import SetupError, UsageError
from pseudomask.running.layout import Outputs
from pseudomask.scores import ScoreMap, save_scores

pytestmark = pytest.mark.filterwarnings("default")  # those of the libraries themselves


def test_supervision_gets_masks_boxes_and_confidence(made: Made) -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    mask = made.masks["a"]
    values = np.full((1, 6, 8), 0.5, np.float32)
    save_scores(Outputs("a", made.out).scores, ScoreMap((2,), values, mask.shape, 4))
    found = {path.relative_to(made.place / "photos").as_posix(): one for path, one in detections(made.out)}
    assert set(found) == set(made.photos.values())
    for key, name in made.photos.items():
        one, mask = found[name], made.masks[key]
        assert list(one.class_id) == [index for index in np.unique(mask) if 0 < index < 255]
        for region, index, named in zip(one.mask, one.class_id, one.data["class_name"], strict=True):
            assert (region == (mask == index)).all()
            assert named == CLASSES[index - 1]
        if len(one):
            assert (one.xyxy == supervision.mask_to_xyxy(one.mask)).all()
    assert len(found["empty.jpg"]) == 0
    sure = dict(zip(found["a.jpg"].class_id, found["a.jpg"].confidence, strict=True))
    assert sure[2] == pytest.approx(0.5, abs=0.005)
    assert all(np.isnan(value) for index, value in sure.items() if index != 2)


def test_datasets_gets_photos_and_masks(made: Made) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    data = to_dataset(made.out)
    assert data["key"][:] == list(made.masks)
    for row in data:
        mask = np.asarray(row["mask"])
        assert (mask == made.masks[row["key"]]).all()
        assert row["image"].size == mask.shape[::-1]


@pytest.mark.parametrize(("call", "library"), [(detections, "supervision"), (to_dataset, "datasets")])
def test_a_missing_library_is_named_with_its_extra(
    call: type, library: str, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SetupError, match=rf"{library} is not installed: pip install .pseudomask\[bridges\]"):
        call(made.out)


def test_another_folder_is_refused_at_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", sys)  # never reached
    with pytest.raises(UsageError, match="must be an output folder"):
        detections(made.place)
    with pytest.raises(UsageError, match="no such folder of photos"):
        detections(made.out, made.place / "nowhere")
