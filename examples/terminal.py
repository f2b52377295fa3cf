"""docs/terminal.svg: what a terminal of 80 columns shows of a real run.

    python examples/terminal.py docs/terminal.svg

Needs tmux. Makes masks of examples/photos in a new folder, with the bundled weights, and takes a picture of the
screen twice: while photos are under way, and at the end.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "pseudomask extract examples/photos masks --labels photos.csv"
SESSION = "pseudomask-picture"


def tmux(*words: str) -> str:
    return subprocess.run(["tmux", *words], check=True, capture_output=True, text=True).stdout


def screens(folder: Path) -> list[str]:
    """The screen, with its colours, in the middle of a run and after it."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "photos.csv").symlink_to(ROOT / "examples" / "photos.csv")
    program = Path(sys.executable).parent
    shell = f"env PATH={program}:/usr/bin:/bin PS1='$ ' TERM=xterm-256color bash --norc --noprofile"
    tmux("new-session", "-d", "-s", SESSION, "-x", "80", "-y", "24", "-c", str(folder), shell)
    try:
        tmux("send-keys", "-t", SESSION, COMMAND, "Enter")
        taken = ""
        while True:
            time.sleep(0.2)
            screen = tmux("capture-pane", "-p", "-e", "-t", SESSION).rstrip()
            if re.search(r" [4-6]/8", re.sub(r"\x1b\[[\d;]*m", "", screen)):
                taken = screen
            if re.search(r"\nmasks\n", screen):
                return [one for one in (taken, screen.removesuffix("$")) if one]
    finally:
        tmux("kill-session", "-t", SESSION)


def picture(texts: list[str]) -> str:
    """Both screens below each other, as SVG with the reader's own fonts."""
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    for text in texts:
        console.print(Text.from_ansi(text), highlight=False, soft_wrap=True)
        console.print()
    no_fonts = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="pseudomask", code_format=no_fonts)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(sys.argv[1]).write_text(picture(screens(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
