"""The NOTIFY channels of line_provider's database."""

# The commit of a change announces the event's id here.
EVENT_CHANGES = "event_changes"
