"""Measure a folder of masks, or of scores at many thresholds, against a folder of truth masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pseudomask.data.images import read_list
from pseudomask.data.kinds import IMAGE_SUFFIXES
from pseudomask.data.review import LeftOut
from pseudomask.errors import UsageError
from pseudomask.masks import IGNORE_16
from pseudomask.measuring.coco_truth import Crowds, is_instances, read_coco_truth
from pseudomask.measuring.coding_options import BACKGROUND, make_coding
from pseudomask.measuring.counting import PairCounter, in_order
from pseudomask.measuring.doubts import Doubt
from pseudomask.measuring.pairing import Missing, Pairing, pair_all, pair_listed
from pseudomask.measuring.reports import Evidence, Report
from pseudomask.measuring.sweep import checked_thresholds
from pseudomask.measuring.tally import Circumstances, Tally
from pseudomask.quoting import count, listed, quoted
from pseudomask.running.listing import File, find_files
from pseudomask.running.made import MadeFolder
from pseudomask.suggest import nearest as nearest_name


def evaluate(
    pred: Path,
    truth: Path,
    *,
    list: Path | str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    thresholds: Iterable[float] | None = None,
    scores: bool | None = None,
    missing: Missing = "error",
    ignore: int = 255,
    truth_map: str | None = None,
    truth_palette: str | None = None,
    pred_map: str | None = None,
    pred_palette: str | None = None,
    truth_crowds: Crowds = "ignore",
    workers: int = 1,
    by_class: bool = False,
    review: Callable[[Sequence[File]], LeftOut] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure predictions against truth PNGs; one image at a time for each worker thread.

    Args:
        pred: folder of mask PNGs (an `extract` output folder), or of score files (that folder or its `scores`).
        truth: folder of mask PNGs, or a COCO instances file; see `pairing` for how files are matched.
        list: file of names ("-" is standard input) or the names themselves; each needs both files, unless
            `missing` is "skip". None measures all pairs found and reports the rest.
        classes: names in the mean ("background" is one of them); None means all.
        class_names: foreground names of the truth's indices 1, 2, ...; by default those in the prediction's
            run.json, or numbers without one. A prediction whose run.json has other classes, or another order, is
            matched to `class_names` by name.
        thresholds: background thresholds to try on scores, by default 0.00, 0.01, ..., 0.99. With more than one, the
            best mean IoU is reported.
        scores: True measures scores, False masks; None masks if there are any and `thresholds` is None.
        truth_map, pred_map: what values in the files mean, `255=cat,1-9=ignore`, or a file of such lines. Other
            values are class indices.
        truth_palette, pred_palette: what colours in the files mean: `voc`, or a file of lines `R G B NAME`.
        truth_crowds: whether pixels that only a crowd covers are ignored or background, in an instances file.
        by_class: also keep each image's IoU by class (`Report.parts`), for pages.
        review: given all predictions, which ones are not measured.
        progress: called with (done, total) after each image.

    Raises UsageError if nothing matches, sizes differ, a mask contains a class outside the class list, or values that
    are not class indices make the result meaningless (see `doubts`; `Report.doubts` has warnings); ImageError if a
    mask cannot be read.
    """
    use_scores, predictions = _predictions(pred, scores, thresholds is not None)
    if thresholds is not None and not use_scores:
        raise UsageError("thresholds apply only to scores; masks have a fixed threshold")
    made = _made_folder(pred)
    foreground = made.classes if class_names is None else tuple(class_names)
    names = None if foreground is None else (BACKGROUND, *foreground)
    if names is not None and ignore < len(names):
        raise UsageError(
            f"{ignore} is a class and cannot be --ignore; choose {IGNORE_16}, and if {ignore} marks pixels of the "
            f"truth that do not count, give --truth-map {ignore}=ignore"
        )
    if use_scores and (pred_map or pred_palette):
        raise UsageError("--pred-map and --pred-palette apply only to masks, not to scores")
    own_names = names if made.classes is None else (BACKGROUND, *made.classes)
    drawn = None
    if is_instances(truth):
        if truth_map or truth_palette:
            raise UsageError("--truth-map and --truth-palette apply only to masks, not to a COCO file")
        drawn = read_coco_truth(truth, names, truth_crowds, ignore)
    counter = PairCounter(
        n_classes=None if names is None else len(names),
        ignore=ignore,
        thresholds=checked_thresholds(thresholds) if use_scores else None,
        renumber=_renumbering(made.classes, foreground),
        truth_coding=drawn or make_coding("truth", truth_map, truth_palette, names, ignore),
        pred_coding=make_coding("pred", pred_map, pred_palette, own_names, ignore),
    )
    tally = Tally(names, _positions(classes, names), counter.thresholds, by_class=by_class)
    pairing, list_name = _pair(predictions, drawn.files if drawn else _truths(truth), (pred, truth), list, missing)
    left_out = LeftOut() if review is None else review(predictions)
    pairing = replace(pairing, pairs=tuple(left_out.kept(pairing.pairs)))
    results = in_order(counter, pairing.pairs, workers)
    for done, (pair, counts) in enumerate(zip(pairing.pairs, results, strict=True), 1):
        tally.add(pair.key, counts)
        if progress is not None:
            progress(done, len(pairing.pairs))
    circumstances = Circumstances(
        pairing=pairing,
        list_name=list_name,
        counter=counter,
        own=made.classes is not None,
        masks_threshold=made.masks_threshold,
        threshold_chosen=made.masks_chosen,
        doubts=tuple(_folder_doubts(pred, truth, made)),
        reviewed=left_out.told,
    )
    try:
        report = tally.report(circumstances)
    except UsageError as error:
        raise UsageError(f"{pred} against {truth}: {error}") from error
    return replace(report, evidence=Evidence(pairing.pairs, counter))


def _made_folder(path: Path) -> MadeFolder:
    return MadeFolder(MadeFolder.around(path), "repair or remove it")


def _predictions(pred: Path, scores: bool | None, want_scores: bool) -> tuple[bool, Sequence[File]]:
    """Whether scores are measured, and their files or those of the masks."""
    masks = () if scores else find_files(pred, ".png")
    if masks and not (want_scores and scores is None):
        return False, masks
    if scores is False:
        raise UsageError(f"{pred}: no mask (.png) found")
    inside = pred / "scores"
    files = find_files(inside if inside.is_dir() else pred, ".npz")
    if not files:
        what = "no score file (.npz)" if scores or masks else "neither masks (.png) nor score files (.npz)"
        raise UsageError(f"{pred}: {what} found{_other_files(pred)}")
    return True, files


def _truths(folder: Path) -> Sequence[File]:
    found = find_files(folder, ".png")
    if not found:
        raise UsageError(f"{folder}: no truth mask (.png) found{_other_files(folder)}")
    return found


def _other_files(folder: Path) -> str:
    """The images of other kinds, or the arrays, in a folder without masks."""
    arrays = (".npy", ".npz", ".mat")
    known = {*IMAGE_SUFFIXES, *arrays} - {".png"}
    kinds = Counter(path.suffix.lower() for path in folder.rglob("*") if path.suffix.lower() in known)
    if not kinds:
        return ""
    suffix, n = kinds.most_common(1)[0]
    files = count(n, f"{suffix} file")
    if suffix in arrays:
        return f", but {files}: write each array of class indices as a grey PNG, in uint8 or uint16"
    return (
        f", but {files}: photos, overlays, or masks to be converted to PNG (not from JPEG, which blurs values: "
        "use the originals)"
    )


def _folder_doubts(pred: Path, truth: Path, made: MadeFolder) -> Iterator[Doubt]:
    if pred.resolve() == truth.resolve():
        yield Doubt("same-folder", f"{pred} is compared with itself")
    elif made.classes is None and truth.is_dir() and _made_folder(truth).classes is not None:
        yield Doubt("order", f"the true masks in {truth} were made by pseudomask; give PRED first, then GT")


def _pair(
    predictions: Sequence[File],
    truths: Sequence[File],
    folders: tuple[Path, Path],
    listed: Path | str | Sequence[str] | None,
    missing: Missing,
) -> tuple[Pairing, str | None]:
    """The pairs to measure and the list's name."""
    if listed is None:
        pairing, source = pair_all(predictions, truths), None
    else:
        is_file = isinstance(listed, str | Path)
        source = "standard input" if listed == "-" else str(listed) if is_file else "the given names"
        names = read_list(listed) if isinstance(listed, str | Path) else listed
        pairing = pair_listed(names, predictions, truths, source=source, missing=missing)
    if not pairing.pairs:
        example = f"{predictions[0].path} and {truths[0].path}"
        raise UsageError(f"no prediction in {folders[0]} matches a truth in {folders[1]}: {example}")
    return pairing, source


def _renumbering(made: tuple[str, ...] | None, names: tuple[str, ...] | None) -> np.ndarray | None:
    """The truth's index for each index in the predictions; None if the class lists are equal."""
    if made is None or names is None or made == names:
        return None
    indices = {name: index for index, name in enumerate(names, 1)}
    for name in made:
        if name not in indices:
            raise UsageError(f"the predictions' class {name!r} is not in the class list{_nearest(name, names)}")
    return np.array([0, *(indices[name] for name in made)], np.int64)


def _positions(chosen: Sequence[str] | None, names: tuple[str, ...] | None) -> tuple[int, ...] | None:
    """Positions of the chosen names; without a class list, names are numbers."""
    if chosen is None:
        return None
    if not chosen:
        raise UsageError("--classes names no class")
    if names is not None:
        for name in chosen:
            if name not in names:
                raise UsageError(f"unknown class {name!r}{_nearest(name, names)}")
        return tuple(names.index(name) for name in chosen)
    for name in chosen:
        if name != BACKGROUND and not (name.isascii() and name.isdigit()):
            raise UsageError(f"class {name!r}: there is no class list; give --class-file, or use mask values (1,2)")
    return tuple(0 if name == BACKGROUND else int(name) for name in chosen)


def _nearest(name: str, names: Sequence[str]) -> str:
    near = nearest_name(name, names, cutoff=0.5)
    if near:
        return f"; did you mean {quoted(near)}?"
    return f"; it contains {listed(names, 8)}"
