"""Checks of the PEM files that settings name, so that a mistake is reported at start-up and by the variable's name."""

import ssl
from pathlib import Path


def check_pair(certificate: Path, key: Path) -> None:
    """Raises ValueError unless both are PEM and the key belongs to the certificate."""
    try:
        # An empty password keeps OpenSSL from asking for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ValueError(f"is not the key of {certificate}, or one of the two is not PEM ({_reason(error)})") from None


def check_authority(path: Path) -> None:
    """Raises ValueError unless the file holds at least one certificate in PEM."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"holds no certificate in PEM ({_reason(error)})") from None


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or str(error)).lower().replace("_", " ")
