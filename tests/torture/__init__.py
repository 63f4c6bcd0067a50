"""The torture run: everything is broken while load runs, and a checker that knows only what clients were told compares
that with what both databases hold.
"""
