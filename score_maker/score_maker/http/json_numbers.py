"""Numbers as JSON has them."""


def whole(value: object) -> object:
    """To JSON, 4.0 is the same number as 4."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
