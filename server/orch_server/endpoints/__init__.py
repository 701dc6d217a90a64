"""What a person or an editor starts. Nothing here is imported before it is needed: starting quickly is a feature."""
