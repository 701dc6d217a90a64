"""What git does for us: telling repositories apart, worktrees, snapshots and differences. One module runs git."""
