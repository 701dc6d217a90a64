"""Faults and abuse: what orch survives, family by family. `make test-faults`; `FULL=1` for the long form."""
