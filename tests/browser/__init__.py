"""The page at / in a real browser, on the whole system."""
