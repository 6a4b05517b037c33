"""Research tools on top of the suite: screening of large persona sets, and planning of designs.

Only their own commands import them (`persona-bench screen`, `persona-bench plan`), and only when
they are called: without this folder nothing but these two commands fails.
"""
