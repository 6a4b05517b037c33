"""Whether personas leave a trace in the responses: `persona-bench trace`."""
