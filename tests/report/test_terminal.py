"""Scores as text: all of them, and no line too long for a terminal."""

import json

from checkout import KEPT

from asc_jax.report.terminal import render


def test_scores_fit_a_terminal():
    report = json.loads((KEPT / "format1" / "report.json").read_text())
    text = render(report)
    assert max(map(len, text.splitlines())) <= 80
    for one in report["lists"]:
        primary = one["systems"][0]
        values = [primary["accuracy"]["value"], *(row["value"] for row in primary["per_class"])]
        assert all(f"{value:.1%}" in text for value in values if value is not None)
        assert all(row["scene_label"] in text for row in primary["per_class"])
