"""Research tools on top of the suite, each in a folder that can be deleted.

Commands alone import them, and only when they run: without one of these folders its own command
fails, and a score or a comparison leaves out what the folder adds to it.
"""
