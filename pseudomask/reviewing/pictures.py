"""The pictures of one mask, by what they show; no part of a request becomes a path."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.decoding import decode
from pseudomask.data.reading import Reading
from pseudomask.errors import UsageError
from pseudomask.masks import load_mask
from pseudomask.reporting.thumbs import Picture, mask_picture, photo_picture, scores_picture
from pseudomask.reviewing.session import Session
from pseudomask.scores import load_scores

SIDE = 1024  # pixels of a picture's long side: sharp on a wide or dense screen

KINDS = ("photo", "scores", "mask")


def picture(session: Session, kind: str, number: int, threshold: float | None = None) -> Picture:
    """The photo, its highest scores, or its mask; with a threshold, the stored scores cut there instead of the mask.

    Raises `UsageError` if there is no such picture, and the errors of reading its file.
    """
    panel = session.panels.get(number)
    folders = session.page.folders
    if panel is None:
        raise UsageError("no such mask")
    if kind == "photo":
        reading = Reading.recorded(session.made.config)
        return photo_picture(decode(_file(folders.photo, panel.photo), reading=reading), SIDE)
    if kind == "scores":
        return scores_picture(load_scores(_file(folders.scores, panel.scores)), SIDE)
    if threshold is not None:
        return mask_picture(load_scores(_file(folders.scores, panel.scores)).mask(threshold), SIDE)
    return mask_picture(load_mask(_file(folders.mask, panel.mask)), SIDE)


def _file(folder: Path | None, relative: str | None) -> Path:
    if folder is None or relative is None:
        raise UsageError("there is no such file")
    return folder / relative
