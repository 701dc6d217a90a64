"""Programs to measure orch against, and agents that do nothing but be measured."""
