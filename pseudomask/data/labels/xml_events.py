"""XML files of annotations, read as expat's events; no tree is built."""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from pseudomask.errors import LabelError
from pseudomask.files import read_bytes


class Refused(Exception):
    """What is wrong with the file at the current line."""


class XmlEvents:
    """A reader whose subclass sets expat's handlers.

    Entities are refused: a few lines of them can expand to gigabytes.
    """

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.EntityDeclHandler = self._refuse

    def read(self, path: Path) -> None:
        """Raises `LabelError`, with the line, for a file that is no XML or that a handler refuses."""
        try:
            self.parser.Parse(read_bytes(path), True)
        except OSError as error:
            raise LabelError(f"cannot be read ({error.strerror})", path) from error
        except expat.ExpatError as error:
            raise LabelError(f"malformed XML ({expat.ErrorString(error.code)})", path, error.lineno) from error
        except Refused as refused:
            raise LabelError(str(refused), path, self.parser.CurrentLineNumber) from refused

    def _refuse(self, *_: object) -> None:
        raise Refused("declares XML entities, which are refused")
