"""A headless Chromium, driven over a pipe by the DevTools protocol."""

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)

START = """
import fcntl, os, sys
high = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]]
for descriptor, wanted in zip(high, (3, 4)):
    os.dup2(descriptor, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes what happens to 4."""


PATIENCE = 600
"""Seconds after which what was waited for will not come."""

ROLES = ("button", "radio", "slider", "checkbox", "image")

KEYS = {"Escape": 27, "End": 35, "Home": 36, "ArrowRight": 39, "Enter": 13, "Tab": 9}


class Browser:
    """One tab of a headless Chromium; commands are those of the DevTools protocol."""

    def __init__(self, profile: pathlib.Path):
        (read, self._commands), (self._events, write) = os.pipe(), os.pipe()
        arguments = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(read), str(write), *arguments],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (read, write):
            os.close(descriptor)
        self._last, self._rest, self._session, self.problems = 0, b"", None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        try:
            self.send("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            for descriptor in (self._commands, self._events):
                os.close(descriptor)

    def send(self, method: str, **parameters) -> dict:
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _message(self) -> dict:
        while b"\0" not in self._rest:
            assert select.select([self._events], [], [], PATIENCE)[0], "the browser is silent"
            assert (part := os.read(self._events, 2**20)), "the browser has ended"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message: dict) -> None:
        """Keeps what went wrong in the page, and the addresses that it asked for."""
        method, what = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(what["exceptionDetails"]))
        if method == "Log.entryAdded" and what["entry"]["source"] == "security":
            self.problems.append(what["entry"]["text"])
        if method == "Network.requestWillBeSent":
            self.problems += [
                url
                for url in [what["request"]["url"]]
                if not url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:"))
            ]

    def evaluate(self, expression: str):
        """The value of a JavaScript expression, awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Returns once a JavaScript condition holds."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"not within {PATIENCE} s: {condition}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """What can be read in the first such element."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def painted(self) -> None:
        """Returns once what was asked for is on the screen."""
        frame = "new Promise((done) => requestAnimationFrame(done))"
        self.evaluate(f"{frame}.then(() => {frame})")

    def open(self, url: str) -> None:
        """Opens the page and returns once it knows its runs."""
        self.evaluate("window.left = true")
        self.send("Page.navigate", url=url)
        ready = "document.readyState === 'complete' && document.title !== 'segjax'"
        self.wait(f"!window.left && {ready}")

    def choose(self, path: pathlib.Path) -> None:
        """Chooses a file as its dialog would, and returns when the page is done with it."""
        before = self.evaluate("state.job")
        self.give(path)
        self.done(after=before)

    def give(self, path: pathlib.Path) -> None:
        """Chooses a file and does not wait."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def done(self, *, after: int) -> None:
        """Returns once an image that was given after job number `after` is dealt with."""
        self.wait(f"state.job > {after} && document.querySelector('#status').hidden")
        self.painted()

    def pixel(self, x: int, y: int, *, run: int = 0) -> list[int]:
        """Red, green and blue of a pixel of a run's picture."""
        canvas = f"document.querySelectorAll('canvas')[{run}].getContext('2d')"
        return self.evaluate(f"[...{canvas}.getImageData({x}, {y}, 1, 1).data].slice(0, 3)")

    def resize(self, width: int, height: int, *, scheme: str = "light") -> None:
        """Sets the window's size in pixels, and whether the person prefers dark pages."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def controls(self, *, until: str) -> list[dict]:
        """What a screen reader is told of controls, once one of a role is among them."""
        end = time.monotonic() + PATIENCE
        while True:
            nodes = self.send("Accessibility.getFullAXTree")["nodes"]
            told = [node for node in nodes if node.get("role", {}).get("value") in ROLES]
            if until in {node["role"]["value"] for node in told}:
                return told
            assert time.monotonic() < end, f"no {until} is told of"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        code = KEYS[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
            )
        self.painted()

    def screenshot(self, path: pathlib.Path) -> None:
        """Writes the whole page as a PNG, to look at."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
