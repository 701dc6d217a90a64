"""The wire: every `orch/*` method with its parameters and result, declared once.

A method is one function marked @request in the file of its noun: three lines that call a use case. Dispatch,
validation, the reference and the TypeScript types follow from the declaration. No JSON-RPC library is known here.
"""
