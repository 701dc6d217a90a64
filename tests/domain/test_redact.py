"""Keys and tokens of known shapes are left out, and nothing else is."""

import json

import pytest

from orch_server.domain.redact import redacted

LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" * 3
TOKENS = {
    "Anthropic": f"sk-ant-api03-{LETTERS}",
    "OpenAI": f"sk-proj-{LETTERS}",
    "plain": f"sk-{LETTERS[:48]}",
    "GitHub": f"ghp_{LETTERS[:36]}",
    "GitHub, fine-grained": f"github_pat_{LETTERS}",
    "GitLab": f"glpat-{LETTERS[:20]}",
    "AWS": "AKIAABCDEFGHIJKLMNOP",
    "Google": f"AIza{LETTERS[:35]}",
    "Slack": "xoxb-123456789012-abcdefGHIJKL",
    "npm": f"npm_{LETTERS[:36]}",
    "JWT": f"eyJ{LETTERS[:20]}.eyJ{LETTERS[:30]}.{LETTERS[:30]}",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{LETTERS}\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_is_left_out(kind: str) -> None:
    for before, after in (("the key is ", "\nand more"), ("\n", ' "quoted"'), ("", ""), ('"', '"')):
        event = {"text": f"{before}{TOKENS[kind]}{after}", "n": 1}
        found = json.loads(redacted(json.dumps(event).encode()))
        assert found == {"text": f"{before}[redacted]{after}", "n": 1}


@pytest.mark.parametrize("kind", TOKENS)
def test_one_that_is_cut_off_leaves_json(kind: str) -> None:
    for length in range(0, len(TOKENS[kind]), 7):
        json.loads(redacted(json.dumps({"text": f'{TOKENS[kind][:length]}"\n\\'}).encode()))


@pytest.mark.parametrize(
    "text",
    ["sk-learn is a library", "task-force-one-hundred-and-more-words", "ghp_short", "AKIA", "a PRIVATE KEY-----"],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    event = json.dumps({"text": text}).encode()
    assert redacted(event) == event
