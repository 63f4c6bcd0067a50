"""The token that gives score_maker's operators access to /ops."""

OPERATORS_TOKEN = "a-token-for-the-operators"
AS_OPERATOR = {"Authorization": f"Bearer {OPERATORS_TOKEN}"}
