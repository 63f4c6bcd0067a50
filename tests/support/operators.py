"""The operators of score_maker: the token that opens /ops to them."""

OPERATORS_TOKEN = "a-token-for-the-operators"
AS_OPERATOR = {"Authorization": f"Bearer {OPERATORS_TOKEN}"}
