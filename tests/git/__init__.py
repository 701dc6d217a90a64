"""git, with real git on scratch repositories."""
