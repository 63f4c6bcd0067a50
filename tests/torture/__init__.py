"""The torture run: it breaks everything under load, and a checker that knows only what clients were told compares that
with what both databases hold.
"""
