"""The chart's files that another part of the repository owns."""

from tests.containers.image import ROOT

CHART = ROOT / "deploy" / "helm" / "scoreline"


def test_the_charts_alerts_are_those_of_the_observability_folder() -> None:
    # A chart can read only its own files, so it has a link to them. A checkout without symbolic links would turn that
    # into a text file with a path, from which Helm would render a rule that Prometheus ignores.
    assert (CHART / "alerts.yaml").read_text() == (ROOT / "observability" / "alerts.yaml").read_text()
