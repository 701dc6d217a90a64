"""The smallest language server on pygls over stdio: nothing of its own but one request with a constant answer."""

import json
import os
from typing import Any

from pygls.lsp.server import LanguageServer

ANSWER = json.loads(os.environ.get("BENCH_ANSWER", "{}"))
server = LanguageServer("minimal", "1")


@server.feature("bench/get")
def get(params: Any) -> Any:
    """Answer with the constant."""
    del params
    return ANSWER


if __name__ == "__main__":
    server.start_io()
