"""The verb `export`: check everything, build the export in a temporary folder, then rename it."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np

from pseudomask.config import ExportConfig
from pseudomask.data.decoding import read_header
from pseudomask.errors import CollisionError, ImageError, PseudomaskError, UsageError
from pseudomask.exporting import FORMATS
from pseudomask.exporting.names import no_member, on_windows, plan_names
from pseudomask.exporting.photo import PhotoDecoding, write_photo
from pseudomask.exporting.result import ExportResult
from pseudomask.exporting.source import VAL, Piece, Source, read_source
from pseudomask.exporting.writer import Writer, write_lines
from pseudomask.masks import MAX_8BIT_CLASSES, load_mask
from pseudomask.quoting import count, printable
from pseudomask.running.atomic import atomic_folder
from pseudomask.running.holder import LOCK, holding, report_filling
from pseudomask.running.inputs import report_changed
from pseudomask.running.layout import check_folders
from pseudomask.running.record import hash_lines
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import Stop, graceful

RECORD = "export.json"


def export(config: ExportConfig, reporter: Reporter | None = None) -> ExportResult:
    """Make a data set from a folder of masks (see `ExportConfig`).

    Raises `UsageError` or a subclass before anything is written, and `PseudomaskError` if the disk fails; DEST is
    then unchanged. Masks and photos that cannot be used are left out and reported.
    """
    reporter = reporter or SilentReporter()
    if config.format not in FORMATS:
        raise UsageError(f"unknown format {config.format!r}; choose one of {', '.join(FORMATS)}")
    kind = FORMATS[config.format]
    _check_settings(config)
    kind.check(config)
    source = read_source(config, reporter, with_photos=kind.with_photos or config.images is not None)
    _check(config, kind, source)
    names = plan_names(source.pieces, flat=kind.flat, fault=kind.fault, format=config.format)
    if source.unlisted:
        reporter.warn(f"skipped {count(source.unlisted, 'mask')} in {config.out} not listed in its manifest")
    report_filling(config.out, reporter)
    report_changed(source.changed, reporter)
    result = ExportResult(
        config.dest, config.format, source.classes, left_out=dict(source.left_out), reviewed=source.reviewed
    )
    with graceful() as stop:
        try:
            with _dest_locked(config.dest), atomic_folder(config.dest, replace=config.overwrite) as folder:
                decoding = PhotoDecoding.of(source.record.config)
                with closing(kind(folder, source.classes, source.pieces, names, decoding)) as writer:
                    _fill(writer, config, result, reporter, stop)
                _describe(writer, config, source, result)
                writer.publish(source, config)
        except _Stopped:
            reporter.warn("stopped; nothing was exported")
            return ExportResult(config.dest, config.format, source.classes, exit_code=stop.exit_code)
    result.exit_code = int(len(result.failures) > config.max_failures)
    return result


class _Stopped(Exception):
    """A stop was requested."""


def _dest_locked(dest: Path) -> AbstractContextManager[None]:
    """DEST is replaced as a whole, so its lock file is beside it."""
    target = Path(os.path.realpath(dest))
    return holding(target.parent, name=f"{LOCK}-{hash_lines([target.name])[:16]}")


def _check_settings(config: ExportConfig) -> None:
    """Raise `UsageError` for settings and folders that cannot work."""
    check_folders(config.out, config.dest, what="masks'")
    _check_dest(config)
    name = config.split_name
    if not name or "/" in name or name.startswith(".") or name == VAL or not name.isprintable() or no_member(name):
        raise UsageError(f"--split-name {name!r} is not a valid name; use a word such as train, other than {VAL}")
    if config.val_list is not None and config.val_fraction:
        raise UsageError("--val-list and --val-fraction cannot be combined; give one of them")


def _check(config: ExportConfig, kind: type[Writer], source: Source) -> None:
    """Raise `UsageError` if the format cannot represent what OUT contains."""
    photo = source.pieces[0].photo
    if photo is not None:
        check_folders(photo.parents[source.pieces[0].relative.count("/")], config.dest)
    if len(source.classes) > MAX_8BIT_CLASSES and not kind.wide:
        wide = ", ".join(name for name, other in FORMATS.items() if other.wide)
        raise UsageError(
            f"{config.format} has 8-bit masks, which can have {MAX_8BIT_CLASSES} classes, not {len(source.classes)}; "
            f"choose one of {wide}"
        )
    for name in source.classes:
        problem = kind.class_fault(name)
        if name.splitlines() != [name]:
            problem = "the name contains a line break, which classes.txt cannot represent"
        if problem:
            raise UsageError(f"class {name!r}: {problem}; rename it")


def _check_dest(config: ExportConfig) -> None:
    """Raise `CollisionError` unless DEST is new, empty, or an export to be overwritten."""
    dest = config.dest
    if not dest.exists():
        return
    if os.path.ismount(dest):
        raise CollisionError(f"{dest} is a mount point and cannot be replaced; choose a folder inside it")
    if not any(dest.iterdir()):
        return
    if not config.overwrite:
        raise CollisionError(
            f"{dest} is not empty; choose another folder, or add --overwrite to replace an earlier export"
        )
    if not (dest / RECORD).is_file():
        raise CollisionError(f"{dest} contains files that are not an export (no {RECORD}); choose another folder")


def _fill(writer: Writer, config: ExportConfig, result: ExportResult, reporter: Reporter, stop: Stop) -> None:
    """Write each photo and mask, then the lists."""
    photos: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with reporter.progress(len(writer.pieces), "exporting") as progress:
        for piece in writer.pieces:
            if stop.requested:
                raise _Stopped
            try:
                how, reason = _write_piece(writer, piece, link=config.link)
            except ImageError as error:
                result.failures[piece.relative] = error.reason
                reporter.warn(f"{piece.relative}: {error.reason}")
            else:
                photos.update([how] if how else [])
                reasons.update([reason] if reason else [])
                writer.written.setdefault(piece.split, []).append(piece)
            progress.advance()
    if not writer.written:
        name, reason = next(iter(result.failures.items()))
        total = count(len(writer.pieces), "mask")
        raise PseudomaskError(f"cannot export any of {total}; the first, {name}: {reason}")
    writer.finish()
    result.photos, result.rewritten = dict(photos), dict(reasons)
    result.splits = {split: len(writer.written[split]) for split in writer.splits}


def _write_piece(writer: Writer, piece: Piece, *, link: bool) -> tuple[str | None, str | None]:
    """How the photo was written (None: not at all), and why it was rewritten, if it was.

    Raises `ImageError` if photo or mask cannot be used; then neither is written.
    """
    mask = _mask(piece, len(writer.classes), writer.ignore)
    if piece.photo is None:
        writer.add(piece, mask)
        return None, None
    if not piece.photo.is_file():
        raise ImageError(piece.photo, "photo not found")
    header = read_header(piece.photo)
    if header.size != mask.shape:
        sizes = [f"{height}x{width}" for height, width in (mask.shape, header.size)]
        raise ImageError(piece.photo, f"its mask has {sizes[0]} pixels, the photo {sizes[1]}; extract it again")
    target = writer.photo(piece)
    written: tuple[str | None, str | None] = (None, None)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = write_photo(piece.photo, target, header, writer.decoding, link=link)
    writer.add(piece, mask)
    return written


def _mask(piece: Piece, classes: int, ignore: int) -> np.ndarray:
    try:
        mask = load_mask(piece.mask)
    except UsageError as error:
        raise ImageError(piece.mask, str(error)) from error
    except ImageError as error:
        raise ImageError(piece.mask, f"its mask: {error.reason}") from error
    known = mask[mask != ignore]
    if known.size and known.max() > classes:
        raise ImageError(piece.mask, f"its mask contains class {known.max()}, but there are only {classes}")
    return mask


def _describe(writer: Writer, config: ExportConfig, source: Source, result: ExportResult) -> None:
    """README.md for people, export.json for programs, classes.txt for both."""
    result.lost = writer.losses()
    if unportable := [name for name in writer.names.values() if not on_windows(name)]:
        result.lost.append(f"not valid on Windows: {count(len(unportable), 'name')}, such as {unportable[0]}")
    result.paste = writer.paste(os.path.abspath(config.dest))  # noqa: PTH100 - keep links as given
    protocol = source.record.protocol
    made = [f"method: {protocol['method']}"] if "method" in protocol else []
    if source.made.refined_by:
        made.append(f"refined by: {source.made.refined_by}")
    if source.made.masks_threshold is not None:
        made.append(f"threshold: {source.made.masks_threshold:g}, {source.made.masks_chosen}")
    lines = [
        f"{writer.front_matter()}# Pseudo masks, {config.format}",
        "",
        printable(f"Made by pseudomask {source.record.command} ({', '.join(made)}), not drawn by hand."),
        "",
        *(printable(f"- {label}: {value}") for label, value in result.summary() if label != "where"),
        "",
        f"```{writer.language}",
        writer.paste("path/to/this/folder"),
        "```",
    ]
    write_lines(writer.folder / "README.md", lines)
    write_lines(writer.folder / "classes.txt", writer.all_classes)
    renamed = {name: piece.relative for piece in source.pieces if (name := writer.names[piece.key]) != piece.key}
    facts = {"command": "export", **result.to_json(), "names": renamed, "masks": source.record.to_json()}
    write_lines(writer.folder / RECORD, [json.dumps(facts, indent=2)])
