"""LLM-judged fidelity: judges score stored responses, and are measured themselves.

`client` talks to one judge; `prompts` and `ratings` hold what it is sent and how its answer is
read; `responses` turns stored responses into calls; `calls` makes many at a time; `session` keeps
logs and budget; `audit` measures the judge; `run` puts it all together.
"""
