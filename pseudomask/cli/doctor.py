"""`pseudomask doctor`."""

from __future__ import annotations

from pseudomask.cli.help import GROUPS
from pseudomask.cli.verb import Result, Verb
from pseudomask.config import DoctorConfig
from pseudomask.running.reporter import Reporter


def run(config: DoctorConfig, reporter: Reporter) -> Result:
    # Not through pseudomask.api, which loads torch: a broken one is to be found, not to crash on.
    from pseudomask.checkup import doctor

    return doctor(config, reporter)


VERB = Verb(
    name="doctor",
    config=DoctorConfig,
    help="Say what this machine has and lacks, and try one photo.",
    run=run,
    group=GROUPS[3],
)
