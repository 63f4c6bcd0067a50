"""The NOTIFY channels of score_maker's database. Each notification is delivered by the commit that it belongs to."""

# A commit added messages to the outbox.
OUTBOX = "scores_outbox"
# A commit settled scores.
SETTLED = "scores_settled"
