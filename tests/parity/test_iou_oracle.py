"""IoU, precision and recall against torchmetrics on 500 random cases, to 1e-9."""

from __future__ import annotations

import numpy as np
import pytest

from pseudomask.measuring.confusion import Confusion

torch = pytest.importorskip("torch")
classification = pytest.importorskip("torchmetrics.functional.classification")


def test_r23_measures_equal_torchmetrics() -> None:
    rng = np.random.default_rng(2022)
    for _ in range(500):
        n = int(rng.integers(2, 22))
        shape = tuple(rng.integers(1, 24, 2))
        present = rng.choice(n, int(rng.integers(1, n + 1)), replace=False)
        truth = rng.choice([*present, 255], shape).astype(np.uint8)
        noise = rng.random(shape) < rng.random()
        pred = np.where(noise | (truth == 255), rng.choice(n, shape), truth).astype(np.uint8)
        confusion = Confusion(n)
        confusion.update(pred, truth)
        # The oracle refuses an empty target, and leaves classes that are nowhere at 0 instead of NaN.
        oracle = classification.multiclass_confusion_matrix(
            torch.from_numpy(pred).long(), torch.from_numpy(truth).long(), n, ignore_index=255
        )
        np.testing.assert_array_equal(confusion.table, oracle.numpy())
        if (truth == 255).all():
            continue
        measures = confusion.measures()
        absent = measures.absent()
        expected = {}
        for name, function in (
            ("iou", classification.multiclass_jaccard_index),
            ("precision", classification.multiclass_precision),
            ("recall", classification.multiclass_recall),
        ):
            values = function(
                torch.from_numpy(pred.ravel()).long()[None],
                torch.from_numpy(truth.ravel()).long()[None],
                num_classes=n,
                average="none",
                ignore_index=255,
            )
            expected[name] = values.double().numpy()
        # float32 inside the oracle; its exact confusion matrix carries the comparison to 1e-9.
        table = oracle.double()
        union = table.sum(0) + table.sum(1) - table.diag()
        iou = (table.diag() / union).numpy()
        np.testing.assert_allclose(measures.iou, iou, rtol=0, atol=1e-9, equal_nan=True)
        if not absent.all():
            assert abs(float(measures.mean_iou()) - np.nanmean(iou)) < 1e-9
        for name, values in expected.items():
            ours = np.nan_to_num(getattr(measures, name))
            np.testing.assert_allclose(ours, values, rtol=0, atol=1e-6)
