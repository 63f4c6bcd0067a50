"""Records that have the names of an event's fields: a row of CSV, or an object of JSON lines."""

from line_provider.events.domain import EventDraft, Invalid, check_draft
from line_provider.importing.rows import BadRow, Fields, ImportOptions, default_deadline, external_id_of

REQUIRED = frozenset({"title", "starts_at"})


def read_record(place: str, content: object, options: ImportOptions) -> EventDraft | BadRow:
    """Converts one record. If it has no external_id, its title and its start identify it."""
    try:
        fields = Fields(content)
        title, starts_at = fields.text("title"), fields.time("starts_at", options.zone)
        external_id = fields.optional_text("external_id") or f"{title}/{starts_at.isoformat()}"
        if options.source_name:
            external_id = f"{options.source_name}/{external_id}"
        return check_draft(
            EventDraft(
                title=title,
                description=fields.optional_text("description"),
                starts_at=starts_at,
                deadline=(
                    fields.time("deadline", options.zone)
                    if fields.optional_text("deadline")
                    else default_deadline(starts_at, options.rate_until)
                ),
                external_id=external_id_of(external_id),
            )
        )
    except Invalid as invalid:
        return BadRow(place, str(invalid))
