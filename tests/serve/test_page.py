"""The page in a real browser: files, the microphone, by keyboard, on a phone and in the dark."""

import browser
import numpy as np
import pytest
import soundfile

ANSWERED = "!document.getElementById('answer').hidden"
TEXT = "document.getElementById({!r}).textContent"


@pytest.fixture(scope="module")
def server(listener, serving):
    with serving(listener) as server:
        yield f"http://{server.host}:{server.port}/"


@pytest.fixture(scope="module")
def tab(chromium, tmp_path_factory):
    flags = [f"--use-fake-{part}-for-media-stream" for part in ("device", "ui")]
    with browser.tab(chromium, tmp_path_factory.mktemp("browser"), *flags) as tab:
        yield tab


@pytest.fixture
def page(tab, server):
    """The page, which throws and logs nothing and asks nobody else."""
    tab.open(server)
    yield tab
    assert tab.noises == []
    asked = {url for url, page in tab.asked.items() if page == server}
    assert {f"{server}{name}.js" for name in ("page", "answer", "recording")} <= asked
    assert all(url.startswith((server, "data:", f"blob:{server}")) for url in asked)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "a <b>walk & 'more'.flac"
    noise = 0.1 * np.random.default_rng(0).standard_normal(22_050 * 3)
    soundfile.write(path, np.concatenate([noise, np.zeros(2 * 22_050)]), 22_050)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_file_is_answered_and_fits(page, model, recording, scheme):
    page.show_as(1280, scheme)
    page.choose("#file", recording)
    page.until(ANSWERED)
    said = model.predict(recording)
    assert page.run(TEXT.format("label")) == said.label
    assert said.label in page.run(TEXT.format("status"))  # which screen readers say
    assert page.run(TEXT.format("name")) == recording.name
    assert "1 of 5" in page.run(TEXT.format("notes"))
    assert page.run("document.querySelectorAll('#folds svg').length") == 2
    assert page.run("document.querySelectorAll('#windows tbody tr').length") == 5
    page.until("document.getElementById('player').duration > 4.9")
    page.until("document.querySelector('#picture img').naturalWidth > 50")
    for width in (1280, 390):
        page.show_as(width, scheme)
        page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
        # Not `innerWidth`: on a phone it grows with what does not fit.
        html = "document.documentElement"
        assert page.run(f"{html}.scrollWidth <= {html}.clientWidth")
    dark = page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 24)"
    assert dark == (scheme == "dark")


def test_what_is_heard_by_the_microphone_is_answered(page):
    page.run("document.getElementById('record').click()")
    page.until("parseFloat(document.getElementById('clock').textContent) > 1.5")
    page.run("document.getElementById('record').click()")
    page.until(ANSWERED)
    assert page.run(TEXT.format("name")) == "recording.wav"
    assert page.run("document.querySelectorAll('#windows tbody tr').length") >= 2
    assert page.run(TEXT.format("notes")) != "silence"  # the browser's stand-in beeps


def test_a_bad_file_is_said_and_the_next_is_taken(page, recording, tmp_path):
    bad = tmp_path / "notes.wav"
    bad.write_text("no audio")
    page.choose("#file", bad)
    page.until("document.getElementById('status').textContent.startsWith('notes.wav')")
    assert page.run("document.getElementById('answer').hidden")
    # That a server refuses, browsers log by themselves.
    page.events[:] = [e for e in page.events if e["method"] != "Log.entryAdded"]
    page.choose("#file", recording)
    page.until(ANSWERED)


def test_a_file_that_is_dropped_is_answered(page, recording):
    data = {"items": [], "files": [str(recording)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.do("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)
    page.until(ANSWERED)


def test_all_can_be_reached_by_keyboard_and_has_a_name(page, recording):
    page.choose("#file", recording)
    page.until(ANSWERED)
    page.run("document.activeElement.blur()")
    reached = set()
    for _ in range(20):
        page.press("Tab", 9)
        reached.add(page.run("document.activeElement.id || document.activeElement.tagName"))
    assert {"file", "record", "player", "SUMMARY"} <= reached
    tree = page.do("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "img", "Audio", "figure"}
    for node in tree:
        if node["role"]["value"] in named and not node["ignored"]:
            assert node["name"]["value"] or node["role"]["value"] == "figure", node
    assert page.run("document.getElementById('status').getAttribute('role')") == "status"
