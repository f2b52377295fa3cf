"""Files cut and changed at random, each read as pseudomask reads it (R27): a value or a `PseudomaskError`, within 2 s.

    PYTHONPATH=tests python -m fault_harness.fuzz FOUND --seconds 600 --seed 1

(`make fuzz`) writes each file that did anything else into FOUND and tells what it did; exit code 1 where there was
one. Once mended, the file goes to found/ beside this file, which the ordinary tests read for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from fault_harness.kinds_of_files import TARGETS, Target
from pseudomask.errors import PseudomaskError

SLOW = 2.0  # seconds of processor time
TOKENS = (b"-1", b"NaN", b"1e999", b"null", b"[]", b"{}", b"9" * 30, b"\0", b"\xff", b'"', b"\n", b"..", b",", b"")
VALUES: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "", "x", "../x", [], {}, [[]], {"": None}, "\ud800", "9" * 400)


def mutate(data: bytes, dice: random.Random) -> bytes:
    """The same file damaged: cut, bits flipped, bytes put in, taken out, doubled; JSON also value by value."""
    for change in (_json_value, _json_lines):
        if data[:1] == b"{" and dice.random() < 0.5:
            changed = change(data, dice)
            if changed is not None:
                return changed
    if data[8:9] == b"{" and dice.random() < 0.6:  # safetensors: the header, with its length put right
        size = int.from_bytes(data[:8], "little")
        header = _json_value(data[8 : 8 + size], dice)
        if header is not None:
            return len(header).to_bytes(8, "little") + header + data[8 + size :]
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(min(len(out), 200) if dice.random() < 0.7 else len(out)) if out else 0
        how = dice.randrange(6)
        if how == 0:
            del out[at:]
        elif how == 1 and out:
            out[at] ^= 1 << dice.randrange(8)
        elif how == 2 and out:
            out[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif how == 3:
            out[at:at] = dice.choice(TOKENS)
        elif how == 4:
            del out[at : at + dice.randrange(1, 9)]
        else:
            out[at : at + dice.choice((2, 4))] = dice.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
    return bytes(out)


def _json_lines(data: bytes, dice: random.Random) -> bytes | None:
    lines = data.splitlines()
    at = dice.randrange(len(lines))
    changed = _json_value(lines[at], dice)
    return None if changed is None else b"\n".join([*lines[:at], changed, *lines[at + 1 :]]) + b"\n"


def _json_value(data: bytes, dice: random.Random) -> bytes | None:
    """One value, anywhere, replaced or taken away; a card within a header is opened too."""
    try:
        content = json.loads(data)
    except ValueError:
        return None
    card = content.get("__metadata__", {}).get("pseudomask") if isinstance(content, dict) else None
    if isinstance(card, str) and dice.random() < 0.7:
        changed = _json_value(card.encode(), dice)
        content["__metadata__"]["pseudomask"] = (changed or b"").decode()
        return json.dumps(content).encode()
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(content)
    if not places:
        return json.dumps(dice.choice(VALUES)).encode()
    node, key = dice.choice(places)
    if dice.random() < 0.2:
        del node[key]
    else:
        node[key] = dice.choice(VALUES)
    return json.dumps(content).encode()


def attempt(target: Target, data: bytes, folder: Path) -> str | None:
    """What was wrong with how it was read, or None."""
    path = folder / target.name
    path.write_bytes(data)
    started = time.process_time()
    try:
        target.read(path)
    except PseudomaskError as error:
        if "\n" in str(error):
            return f"a message of several lines: {error}"
    except Exception:
        return traceback.format_exc()
    spent = time.process_time() - started
    return f"took {spent:.1f} s" if spent > SLOW else None


def by_name(name: str) -> Target:
    """The target of a kept finding: `kind--hash.bin`."""
    return next(target for target in TARGETS if target.name == name.partition("--")[0])


def fuzz(found: Path, *, seed: int, seconds: float, count: int, only: str = "") -> tuple[int, list[str]]:
    """Rounds over all targets until the time (of the processor) or the count is used up: (files read, findings)."""
    dice, done, told = random.Random(seed), 0, list[str]()
    started = time.process_time()
    with tempfile.TemporaryDirectory(prefix="pseudomask-fuzz-") as place:
        folders = {target.name: Path(place, str(i)) for i, target in enumerate(TARGETS)}
        for folder in folders.values():
            folder.mkdir()
        sound = {target.name: target.sound(folders[target.name]) for target in TARGETS}
        for target in TARGETS:
            wrong = attempt(target, sound[target.name], folders[target.name])
            assert wrong is None, f"{target.name} as it should be: {wrong}"
        while time.process_time() - started < seconds and (not count or done < count):
            for target in TARGETS:
                if only not in target.name or (target.name.startswith("weights") and dice.random() < 0.8):
                    continue
                data = mutate(sound[target.name], dice)
                wrong = attempt(target, data, folders[target.name])
                done += 1
                if wrong is not None:
                    name = f"{target.name}--{hashlib.sha256(data).hexdigest()[:12]}.bin"
                    found.mkdir(parents=True, exist_ok=True)
                    (found / name).write_bytes(data)
                    told.append(f"{name}: {wrong.strip().splitlines()[-1]}")
    return done, told


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0, help="so many files at most; 0: as many as the time allows")
    parser.add_argument("--only", default="", help="part of a target's name")
    given = parser.parse_args(arguments)
    done, told = fuzz(given.found, seed=given.seed, seconds=given.seconds, count=given.count, only=given.only)
    print(json.dumps({"read": done, "found": told}, indent=2))
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
