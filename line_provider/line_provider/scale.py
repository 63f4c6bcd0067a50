"""The scale on which raters rate. What depends on it in line_provider derives from here.

The database is the exception: its checks and the default of `events.histogram` are written out in the migrations, which
must stay what they were when they ran. So changing the scale takes a migration as well.
"""

SCALE = range(1, 6)
