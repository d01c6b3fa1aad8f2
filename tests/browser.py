"""A real browser: how it is started, and driven by its DevTools protocol."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest


def find() -> str:
    """The path of a browser that can be told what to do by flags alone."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    # The pages themselves are tested without one; only how they look and behave takes a browser.
    pytest.skip("no chromium, chromium-browser or google-chrome on PATH")


def command(chromium: str, profile: pathlib.Path, *flags: str) -> list[str]:
    """The command of a browser without a window, which asks nothing of anybody."""
    parts = ("gpu", "sync", "extensions", "component-update", "background-networking")
    return [
        chromium,
        "--headless",
        *(f"--disable-{part}" for part in parts),
        *("--no-first-run", "--metrics-recording-only"),
        f"--user-data-dir={profile}",
        # Nobody listens there: what the browser asks of its maker goes nowhere either.
        "--proxy-server=127.0.0.1:9",
        "--proxy-bypass-list=127.0.0.1",
        "--enable-logging=stderr",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *flags,
    ]


class Tab:
    """A page in the browser.

    Attributes:
      events: what the browser has told of it, in order: messages of the protocol.
    """

    def __init__(self, connection):
        self._connection, self._numbers, self.events = connection, itertools.count(1), []
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **params):
        """Carries out a method of the protocol; returns its result."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def run(self, code: str):
        """The value of an expression in the page; a promise is waited for."""
        how = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        done = self.do("Runtime.evaluate", expression=code, **how)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    @property
    def noises(self) -> list[dict]:
        """What pages have thrown and logged, and what the browser has logged of them."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event["method"] in kinds]

    @property
    def asked(self) -> dict[str, str]:
        """The addresses that were asked for, and the page that asked."""
        told = [
            one["params"] for one in self.events if one["method"] == "Network.requestWillBeSent"
        ]
        return {one["request"]["url"]: one["documentURL"] for one in told}

    def open(self, url: str) -> None:
        """Opens a page, with its scripts; what was told of earlier ones is forgotten."""
        self.events.clear()
        loader = self.do("Page.navigate", url=url)["loaderId"]
        # Until then the state is that of the page before.
        while not any(
            event["method"] == "Page.frameNavigated"
            and event["params"]["frame"]["loaderId"] == loader
            for event in self.events
        ):
            self.events.append(json.loads(self._connection.recv(timeout=60)))
        self.until("document.readyState === 'complete'")

    def until(self, condition: str) -> None:
        """Waits until an expression is true; at most a minute."""
        self.run(
            f"new Promise((yes, no) => {{ const look = () => ({condition}) ? yes() : "
            "setTimeout(look, 20); look(); setTimeout(() => no(document.body.innerText), 60000) })"
        )

    def choose(self, selector: str, path: pathlib.Path) -> None:
        """Gives a file to an element that takes one."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key: str, code: int) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def show_as(self, width: int, scheme: str) -> None:
        """Gives the window a width in pixels, and a colour scheme, "light" or "dark"."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.do("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.do("Emulation.setEmulatedMedia", features=features)


@contextlib.contextmanager
def tab(chromium: str, profile: pathlib.Path, *flags: str) -> Iterator[Tab]:
    """Starts a browser and opens an empty tab; ends it with the block."""
    from websockets.sync.client import connect

    words = command(chromium, profile, "--remote-debugging-port=0", *flags)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if found := re.search(r"ws://(127\.0\.0\.1:\d+)/", line):
                    break
            with urllib.request.urlopen(f"http://{found[1]}/json/list") as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            with connect(pages[0]["webSocketDebuggerUrl"], max_size=None, proxy=None) as connection:
                yield Tab(connection)
        finally:
            process.terminate()
