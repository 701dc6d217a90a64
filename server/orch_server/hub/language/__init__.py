"""What a client gets by standard LSP, beside `orch/*`: one module a feature, each registered in `registry.py`."""
