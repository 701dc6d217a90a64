"""Who the user is to git, for the commits that are made in their name."""

import re
from collections.abc import Mapping
from dataclasses import replace

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.git.command import Git, run
from orch_server.git.repository import Repository

# What of a user's terminal says who they are, beside git's configuration, and where that is.
FOLLOWED_VARIABLES = (
    "HOME",
    "XDG_CONFIG_HOME",
    "GIT_CONFIG_GLOBAL",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "EMAIL",
    "TZ",
)
IDENTITY = re.compile(rb"(.*) <(.*)> \d+ [+-]\d{4}\n?", re.DOTALL)


async def as_user(git: Git, repository: Repository, environment: Mapping[str, str]) -> Git:
    """Return git as the user whose terminal has this environment; an error says what to set where it does not tell."""
    followed = {name: environment[name] for name in FOLLOWED_VARIABLES if environment.get(name)}
    program = replace(git, environment={**git.environment, **followed})
    # Never a name that git makes up from the machine's.
    asked = replace(repository.target(), trusted=True, settings=(("user.useConfigOnly", "true"),))
    found = {}
    for role in ("AUTHOR", "COMMITTER"):
        try:
            answer = await run(program, asked, ["var", f"GIT_{role}_IDENT"])
        except OrchError as error:
            if "identity unknown" not in error.data.get("stderr", ""):
                raise
            raise OrchError(
                ErrorKind.GIT_FAILED,
                "git does not know who you are, and a commit needs an author.",
                hint='Say it once: `git config --global user.name "Your Name"` and '
                "`git config --global user.email you@example.com`.",
            ) from error
        said = IDENTITY.fullmatch(answer.stdout)
        assert said is not None, "git prints identities in one form only"
        found[f"GIT_{role}_NAME"] = said[1].decode("utf-8", "surrogateescape")
        found[f"GIT_{role}_EMAIL"] = said[2].decode("utf-8", "surrogateescape")
    return replace(program, environment={**program.environment, **found})
