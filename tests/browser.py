"""A headless Chromium that does what a person does: keys, touches, a reload, a saved file. Over its debugging pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_CHROMIUM = "no chromium, chromium-browser or google-chrome on PATH"
# Seconds that anything may take.
PATIENCE = 30
# All that a page has kept; null where the browser keeps nothing.
KEPT = "(() => { try { return JSON.stringify(Object.entries(localStorage).sort()) } catch { return null } })()"
KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), "Backspace": ("", 8), "ArrowRight": ("", 39), "ArrowDown": ("", 40)}


class Browser:
    """One page in one browser; `asked` are the addresses that it asked for, `console` what it complained of."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int, folder: Path) -> None:
        self._process, self._to, self._back, self._rest = process, to, back, b""
        self._number, self._session, self.folder = 0, "", folder
        self.asked: list[str] = []
        self.console: list[str] = []
        self.new_tab()

    def new_tab(self) -> str:
        """Go on in a new tab; gives the one that was left, for `go_to`."""
        before, self._session = self._session, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.save_into(self.folder)
        return before

    def go_to(self, tab: str) -> None:
        self._session = tab

    def save_into(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            self._note(said)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._back, 1 << 20)
            assert more, "the browser has gone"
            self._rest += more
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)

    def _note(self, said: Mapping[str, Any]) -> None:
        if said["method"] == "Network.requestWillBeSent":
            self.asked.append(said["params"]["request"]["url"])
        elif said["method"] == "Log.entryAdded":
            self.console.append(said["params"]["entry"]["text"])
        elif said["method"] == "Runtime.exceptionThrown":
            self.console.append(str(said["params"]["exceptionDetails"]))
        elif said["method"] == "Page.javascriptDialogOpening":
            self.console.append(f"dialog: {said['params']['type']}")

    def open(self, path: Path) -> None:
        self._load("Page.navigate", url=path.as_uri())

    def reload(self) -> None:
        """As a person does it: later than the browser takes to hand what is kept from one document to the next."""
        kept, end = self.js(KEPT), time.monotonic() + PATIENCE
        self._load("Page.reload")
        while self.js(KEPT) not in (kept, None):
            assert time.monotonic() < end, "what was kept never came"
            time.sleep(0.1)
            self._load("Page.reload")

    def _load(self, method: str, **params: Any) -> None:
        """A mark on the old document tells it from the new one: load events of a tab may come late."""
        self.js("window.old = true")
        self.call(method, **params)
        end = time.monotonic() + PATIENCE
        while not self._loaded():
            assert time.monotonic() < end, "the page never came"
            time.sleep(0.02)

    def _loaded(self) -> bool:
        try:
            return bool(self.js("window.old === undefined && document.readyState === 'complete'"))
        except AssertionError:
            # Between two documents there is none to ask.
            return False

    def js(self, code: str) -> Any:
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, code: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.js(code):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        for key in keys:
            text, code = KEYS.get(key, (key, ord(key.upper()[0])))
            event = {"key": key, "windowsVirtualKeyCode": code, "text": text, "unmodifiedText": text}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def hold(self, key: str, times: int) -> None:
        event = {"key": key, "text": key, "unmodifiedText": key, "windowsVirtualKeyCode": ord(key.upper())}
        for at in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", autoRepeat=at > 0, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def touch(self, selector: str, nth: int = 0) -> None:
        """A finger on the middle of the `nth` element of these, brought into view, wherever something lies over it."""
        box = self.js(
            f"(() => {{ const one = document.querySelectorAll({json.dumps(selector)})[{nth}]; "
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2] })()"
        )
        point = {"x": box[0], "y": box[1]}
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def look(self, width: int, *, height: int = 800, dark: bool = False, media: str = "", phone: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(found["data"]))

    def saved(self, name: str) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while not (self.folder / name).exists():
            assert time.monotonic() < end, f"{name} was not saved: {sorted(self.folder.iterdir())}"
            time.sleep(0.02)
        return json.loads((self.folder / name).read_text("utf-8"))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A fresh browser without a network; what it saves lies in `folder`."""
    assert CHROMIUM is not None, NO_CHROMIUM
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}", "about:blank"]
    theirs, to = os.pipe()
    back, out = os.pipe()
    # The browser reads file descriptor 3 and writes 4; which ones are free here, nobody knows.
    places = f"a, b = os.dup({theirs}), os.dup({out}); os.dup2(a, 3); os.dup2(b, 4); [os.set_inheritable(i, True) for i in (3, 4)]"
    wrap = [sys.executable, "-c", f"import os, sys; {places}; os.execv(sys.argv[1], sys.argv[1:])", *command]
    process = subprocess.Popen(
        wrap, pass_fds=(theirs, out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.close(out)
    try:
        yield Browser(process, to, back, folder)
    finally:
        os.close(to)
        os.close(back)
        process.terminate()
        process.wait(PATIENCE)
