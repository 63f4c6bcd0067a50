"""The pages at / and /ops in a real browser, on the whole system."""
