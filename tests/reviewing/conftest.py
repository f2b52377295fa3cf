"""The fixtures of `served`, and a browser."""

from __future__ import annotations

from browsing import browser as browser
from served import made as made
from served import serve as serve
from served import source as source
