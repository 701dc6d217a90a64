"""What orch costs, each row beside a reference measured in the same run, one taken in turn with the other."""
