"""What the rest is told, never asks for: where things live, and what the user set. Read once, passed down."""
