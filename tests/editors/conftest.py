"""The fixture of the editors' tests: a home with a project, as the end-to-end tests have it."""

from tests.e2e.conftest import home

__all__ = ["home"]
