"""What a design can tell, and what a wanted precision takes: `persona-bench plan`."""
