"""Stand-ins for what a test cannot have: a model, a network."""
