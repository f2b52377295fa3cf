"""A data class becomes flags; flags win over variables, those over the file, that over defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import typer

from pseudomask.cli import options
from pseudomask.cli.verb import add
from pseudomask.config import sources
from pseudomask.config.settings import settings
from pseudomask.errors import UsageError
from pseudomask.running.reporter import Reporter
from pseudomask.verbs import MAKE, VERBS, Verb


def opt(default: Any, **meta: Any) -> Any:
    return field(default=default, metadata=meta)


@dataclass(frozen=True, kw_only=True)
class Base:
    lr: float = opt(0.1, help="Rate [of learning].", min=0.0, panel="Training")
    device: str = opt("auto", panel="Machine")


@dataclass(frozen=True, kw_only=True)
class Config(Base):
    images: Path = field(metadata={"positional": True, "help": "Photos."})
    out: Path = field(metadata={"positional": True})
    labels: Path = field(metadata={"help": "Tags."})
    method: Literal["cam", "recam"] = opt("recam", short="-m")
    flip: bool = opt(True)
    overlay: bool = opt(False)
    scales: tuple[float, ...] = opt((0.5, 1.0), max=4)
    batch_size: int | Literal["auto"] = opt("auto", min=1)
    lambda_: float = opt(1.0)
    kind: str | None = opt(None, flag="--label-format")
    private: int = opt(3, cli=False)
    secret: int = opt(4, env=False)

    def __post_init__(self) -> None:
        if self.lambda_ == 13:
            raise ValueError("13 brings no luck")


@dataclass
class Result:
    exit_code: int = 0

    def summary(self) -> list[tuple[str, object]]:
        return []

    def to_json(self) -> dict[str, int]:
        return {"schema": 1}


SEEN: list[Config] = []


def run(config: Config, reporter: Reporter) -> Result:
    SEEN.append(config)
    return Result()


def parse(*arguments: str) -> Config:
    """The config that a command line makes, through Typer itself."""
    SEEN.clear()
    app = typer.Typer()
    app.callback()(lambda: None)
    add(
        app,
        Verb(name="extract", config=Config, help="Help.", function=f"{__name__}:run", group=MAKE),
        ("extract", "evaluate"),
    )
    typer.main.get_command(app).main(["extract", *arguments], standalone_mode=False)
    (config,) = SEEN
    return config


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("PSEUDOMASK_"):
            monkeypatch.delenv(name)


REQUIRED = ("in", "out", "--labels", "l.csv")


def test_defaults_are_the_data_classs_own() -> None:
    assert parse(*REQUIRED) == Config(images=Path("in"), out=Path("out"), labels=Path("l.csv"))


def test_every_flag_and_every_order() -> None:
    config = parse(
        *("--lr", "2e-3", "in", "-m", "cam", "--no-flip", "--overlay", "--scales", "1,2.5", "out"),
        *("--batch-size=4", "--lambda", "0.1", "--labels", "l.csv", "--label-format", "voc", "--device", "cpu"),
        *("--secret", "5"),
    )
    assert config == Config(
        images=Path("in"),
        out=Path("out"),
        labels=Path("l.csv"),
        lr=0.002,
        method="cam",
        flip=False,
        overlay=True,
        scales=(1.0, 2.5),
        batch_size=4,
        lambda_=0.1,
        kind="voc",
        device="cpu",
        secret=5,
    )


def test_names_that_are_not_utf8_and_odd_names_arrive() -> None:
    config = parse("--labels", "-", "--", "caf\udce9", "-[x]\n")
    assert config.images == Path("caf\udce9")
    assert config.out == Path("-[x]\n")
    assert config.labels == Path("-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lr", "-1"), "--lr: must be at least 0, not -1.0"),
        (("--scales", "1,5"), "--scales: must be at most 4, not 5.0"),
        (("--batch-size", "0"), "--batch-size: must be at least 1, not 0"),
        (("--method", "racam"), "--method: must be one of cam, recam, not 'racam' (did you mean 'recam'?)"),
        (("--lambda", "13"), "extract: 13 brings no luck"),
    ],
)
def test_bad_values(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*REQUIRED, *arguments)
    assert str(caught.value) == message


def test_a_required_flag_that_nobody_gave() -> None:
    with pytest.raises(UsageError, match="extract needs --labels"):
        parse("in", "out")


def test_hidden_fields_are_no_flags() -> None:
    with pytest.raises(typer.BadParameter.__mro__[2], match="private"):
        parse(*REQUIRED, "--private", "3")


def test_flags_win_over_variables_over_file_over_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text('lr = 0.4\nbatch_size = 4\nmethod = "cam"\nlabels = "f.csv"\n')
    monkeypatch.setenv("PSEUDOMASK_LR", "0.3")
    monkeypatch.setenv("PSEUDOMASK_BATCH_SIZE", "3")
    config = parse("in", "out", "--config", str(file), "--lr", "0.2")
    assert (config.lr, config.batch_size, config.method, config.flip) == (0.2, 3, "cam", True)
    assert config.labels == Path("f.csv")
    monkeypatch.setenv("PSEUDOMASK_CONFIG", str(file))
    assert parse("in", "out").method == "cam"


def test_a_verbs_own_variable_wins_and_empty_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDOMASK_FLIP", "yes")
    monkeypatch.setenv("PSEUDOMASK_EXTRACT_FLIP", "no")
    monkeypatch.setenv("PSEUDOMASK_LR", "")
    monkeypatch.setenv("PSEUDOMASK_SECRET", "9")
    monkeypatch.setenv("PSEUDOMASK_IMAGES", "elsewhere")
    config = parse(*REQUIRED)
    assert config.flip is False
    assert (config.lr, config.secret, config.images) == (0.1, 4, Path("in"))


def test_a_variable_is_named_in_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDOMASK_LR", "fast")
    with pytest.raises(UsageError, match=r"^PSEUDOMASK_LR: must be a number, not 'fast'$"):
        parse(*REQUIRED)


def test_a_verbs_table_wins_over_the_top_and_other_tables_wait(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        "\ufefflr = 0.4\nscales = [1, 2]\nflip = false\nlabel-format = 'voc'\n"
        "[extract]\nlr = 0.5\n[evaluate]\nanything = 1\n",
        encoding="utf-8",
    )
    config = parse(*REQUIRED, "--config", str(file))
    assert (config.lr, config.scales, config.flip, config.kind) == (0.5, (1.0, 2.0), False, "voc")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_sise = 3", "unknown key 'batch_sise' for extract (did you mean 'batch-size'?)"),
        ("[extrct]\nlr = 1", "unknown table [extrct] (did you mean 'extract'?)"),
        ("private = 3", "unknown key 'private'"),
        ("images = 'x'", "'images' must be given on the command line"),
        ("[extract]\nlr = 'x'", "[extract]: lr: must be a number, not 'x'"),
        ("lr = ", "not a TOML file"),
    ],
)
def test_bad_config_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse(*REQUIRED, "--config", str(file))
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_config_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        parse(*REQUIRED, "--config", str(tmp_path / "none.toml"))


def test_help_texts_show_defaults_and_hide_no_brackets() -> None:
    known = {setting.name: setting for setting in settings(Config)}
    assert options.describe(known["lr"]) == "Rate [of learning]. [default: 0.1]"
    assert options.describe(known["flip"]) == "[default: flip]"
    assert options.describe(known["overlay"]) == ""
    assert options.describe(known["labels"]) == "Tags. [required]"
    assert options.describe(known["scales"]) == "[default: 0.5,1.0]"


def test_groups_that_matter_less_come_last() -> None:
    names = [setting.name for setting in settings(Config)]
    assert names[-1] == "device"
    assert names.index("images") < names.index("out")


def test_two_fields_cannot_share_a_flag() -> None:
    broken = dataclasses.make_dataclass("Broken", [("a", int, opt(1)), ("b", int, opt(2, flag="a"))])
    with pytest.raises(TypeError, match="share a flag"):
        settings(broken)


@pytest.mark.parametrize("verb", VERBS)
def test_the_real_verbs_turn_into_commands(verb: str) -> None:
    """Every field of the real configs has a type and a help text that the command line can show."""
    for setting in settings(VERBS[verb].config):
        assert setting.help, setting.name
        if setting.default is not None:
            shown = setting.default
            if isinstance(shown, bool | Path):  # as a person writes them
                shown = str(shown).lower() if isinstance(shown, bool) else str(shown)
            assert setting.parse(shown, setting.flag) == setting.default
        assert sources.variables(verb, setting) or setting.positional or not setting.env


def test_typer_converts_no_value() -> None:
    """Versions before 0.29 convert what is said to be a path, even where a parser is given."""
    command = options.as_command(settings(Config), [], lambda given: None)
    assert set(map(str, command.__annotations__.values())) == {"str | None", "bool | None"}
