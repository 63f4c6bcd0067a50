"""What is said of certificates that do not fit, before anything is connected."""

from pathlib import Path

import pytest
import trustme
from pydantic_settings import SettingsConfigDict

from scoreline_common.line_provider_channel import LineProviderSettings
from scoreline_common.settings import load


class Settings(LineProviderSettings):
    model_config = SettingsConfigDict(env_prefix="TESTED_", env_ignore_empty=True)


@pytest.fixture(autouse=True)
def fitting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    ca = trustme.CA()
    ca.cert_pem.write_to_path("ca.crt")
    own = ca.issue_cert("score-maker")
    own.cert_chain_pems[0].write_to_path("own.crt")
    own.private_key_pem.write_to_path("own.key")
    ca.issue_cert("score-maker").private_key_pem.write_to_path("other.key")
    Path("nonsense").write_text("nonsense")
    monkeypatch.setenv("TESTED_LINE_PROVIDER_ADDRESS", "localhost:50051")
    for name, file in (("CA", "ca.crt"), ("CERTIFICATE", "own.crt"), ("KEY", "own.key")):
        monkeypatch.setenv(f"TESTED_LINE_PROVIDER_{name}", file)


def test_without_an_authority_there_is_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Settings, example="x").line_provider_credentials() is not None
    for name in ("CA", "CERTIFICATE", "KEY"):
        monkeypatch.delenv(f"TESTED_LINE_PROVIDER_{name}")
    assert load(Settings, example="x").line_provider_credentials() is None


@pytest.mark.parametrize(
    ("name", "value", "told", "trouble"),
    [
        ("CA", "nowhere", "CA", "Path does not point to a file"),
        ("CA", "nonsense", "CA", "holds no certificate in PEM"),
        ("CA", "", "KEY", "needs the authority of line_provider's certificate too"),
        ("CERTIFICATE", "", "KEY", "and the certificate need each other"),
        ("KEY", "", "KEY", "and the certificate need each other"),
        ("KEY", "other.key", "KEY", "is not the key of own.crt"),
        ("CERTIFICATE", "nonsense", "KEY", "is not the key of nonsense"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, told: str, trouble: str
) -> None:
    monkeypatch.setenv(f"TESTED_LINE_PROVIDER_{name}", value)
    with pytest.raises(SystemExit) as exited:
        load(Settings, example=".env_example")
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"TESTED_LINE_PROVIDER_{told}: {trouble}")
