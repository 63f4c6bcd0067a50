"""How line_provider reports settings that are missing or wrong."""

from decimal import Decimal
from pathlib import Path

import pytest
import trustme

from line_provider.settings import EXAMPLE, DatabaseSettings, Settings
from scoreline_common.settings import load

COMPLETE = {
    "LINE_PROVIDER_DATABASE_URL": "postgresql://somebody:secret@/events?host=/run/postgresql",
    "LINE_PROVIDER_ADMIN_TOKEN": "a-token-for-the-admin",
    "LINE_PROVIDER_WORKER_TOKEN": "a-token-for-the-worker",
}


@pytest.fixture(autouse=True)
def complete_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)


def test_settings_have_defaults() -> None:
    settings = load(Settings, example=EXAMPLE)
    assert settings.database_url.get_secret_value() == (
        "postgresql+asyncpg://somebody:secret@/events?host=%2Frun%2Fpostgresql"
    )
    assert (settings.listen, settings.log_format) == ("127.0.0.1:50051", "console")
    assert (settings.high_score_from, settings.shutdown_grace) == (Decimal(3), 10)


def test_seconds_and_averages_are_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINE_PROVIDER_SHUTDOWN_GRACE", "2.5")
    monkeypatch.setenv("LINE_PROVIDER_HIGH_SCORE_FROM", "3.5")
    settings = load(Settings, example=EXAMPLE)
    assert (settings.high_score_from, settings.shutdown_grace) == (Decimal("3.5"), 2.5)


def test_settings_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COMPLETE:
        monkeypatch.delenv(name)
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in COMPLETE.items()))
    assert [token.get_secret_value() for token in load(Settings, example=EXAMPLE).admin_token] == [
        "a-token-for-the-admin"
    ]


def test_no_setting_shows_its_secret() -> None:
    shown = repr(load(Settings, example=EXAMPLE))
    assert "secret" not in shown
    assert "a-token" not in shown


def test_a_command_on_the_database_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINE_PROVIDER_ADMIN_TOKEN")
    monkeypatch.delenv("LINE_PROVIDER_WORKER_TOKEN")
    load(DatabaseSettings, example=EXAMPLE)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("DATABASE_URL", "", "is missing."),
        ("DATABASE_URL", "mysql://localhost/x", "must start with postgresql://."),
        ("DATABASE_URL", "nonsense", "must look like postgresql://user:password@host:5432/database."),
        ("DATABASE_URL", "postgresql://host:port/x", "must look like postgresql://user:password@host:5432/database."),
        ("ADMIN_TOKEN", "", "is missing."),
        ("WORKER_TOKEN", "short", "must be at least 16 characters long."),
        ("WORKER_TOKEN", "a-token-for-the-admin", "must differ from LINE_PROVIDER_ADMIN_TOKEN."),
        ("WORKER_TOKEN", "another-worker-token,a-token-for-the-admin", "must differ from LINE_PROVIDER_ADMIN_TOKEN."),
        ("WORKER_TOKEN", "another-worker-token,short", "must be at least 16 characters long."),
        ("WORKER_TOKEN", ",", ""),
        ("TLS_KEY", "/nowhere/key", "Path does not point to a file."),
        ("TLS_CLIENT_CA", __file__, "needs LINE_PROVIDER_TLS_CERTIFICATE."),
        ("HEALTH_LISTEN", "50052", ""),
        ("WORKER_TOKEN", "with spaces in between", "must consist of ASCII characters without spaces"),
        ("WORKER_TOKEN", "schlüssel-schlüssel", "must consist of ASCII characters without spaces"),
        ("LISTEN", "50051", ""),
        ("HIGH_SCORE_FROM", "6", ""),
        ("HIGH_SCORE_FROM", "nan", ""),
        ("SHUTDOWN_GRACE", "0", ""),
        ("SHUTDOWN_GRACE", "inf", ""),
        ("LOG_FORMAT", "xml", ""),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_the_file_to_copy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(f"LINE_PROVIDER_{name}", value)
    with pytest.raises(SystemExit) as exited:
        load(Settings, example=EXAMPLE)
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"LINE_PROVIDER_{name}: {reason}")
    assert line.endswith(" See line_provider/.env_example: copy it to .env and edit it.")


@pytest.fixture
def certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.LeafCert:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "server.crt"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    monkeypatch.setenv("LINE_PROVIDER_TLS_CERTIFICATE", str(tmp_path / "server.crt"))
    monkeypatch.setenv("LINE_PROVIDER_TLS_KEY", str(tmp_path / "server.key"))
    return certificate


def test_a_certificate_and_its_key_are_accepted(certificate: trustme.LeafCert) -> None:
    assert load(Settings, example=EXAMPLE).tls_key is not None


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("KEY", "", "and LINE_PROVIDER_TLS_CERTIFICATE need each other."),
        ("CERTIFICATE", "", "and LINE_PROVIDER_TLS_CERTIFICATE need each other."),
        ("KEY", "other.key", "is not the key of "),
        ("KEY", "nonsense", "is not the key of "),
        ("CERTIFICATE", "nonsense", "is not the key of nonsense"),
        ("CLIENT_CA", "nonsense", "holds no certificate in PEM"),
    ],
)
def test_files_that_do_not_belong_together_are_reported_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    certificate: trustme.LeafCert,
    name: str,
    value: str,
    reason: str,
) -> None:
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path("other.key")
    Path("nonsense").write_text("nonsense")
    monkeypatch.setenv(f"LINE_PROVIDER_TLS_{name}", value)
    with pytest.raises(SystemExit) as exited:
        load(Settings, example=EXAMPLE)
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    # The key is checked against the certificate, so the error names the key.
    assert line.startswith(f"LINE_PROVIDER_TLS_{name.replace('CERTIFICATE', 'KEY')}: {reason}")
