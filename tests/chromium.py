"""Debian's Chromium without a screen, as a person would use it: pages, what they show, clicks. It is steered through chromedriver by the W3C's WebDriver protocol,
which is JSON over HTTP, so that nothing more is needed than the packages chromium and chromium-driver.

A test that needs it calls `missing()` first, and is skipped with what it says."""
from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, List, Optional

from redis_process import free_port
from tutti_process import until

LIMIT_S = 60
ARGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking",
        "--window-size=1280,900"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the name that the protocol gives to a reference


def missing() -> Optional[str]:
    """What is not there, None when all is."""
    lacks = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return "no %s: run script/setup" % " and ".join(lacks) if lacks else None


class WebError(Exception):
    """What the driver says: the element is gone, something lies over it, a dialog is open."""


class Chromium:
    """One window. Its profile and whatever it writes lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.at = "http://127.0.0.1:%d" % free_port()
        with open(folder / "chromedriver.log", "wb") as out:
            self.driver = subprocess.Popen(["chromedriver", "--port=" + self.at.rpartition(":")[2]], stdout=out, stderr=out, cwd=folder)
        try:
            until(self._answers, "chromedriver answers", LIMIT_S)
            options = {"binary": shutil.which("chromium"), "args": [*ARGS, "--user-data-dir=%s" % (folder / "profile")]}
            wish = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            self.at += "/session/" + self._call("POST", "/session", {"capabilities": {"alwaysMatch": wish}})["sessionId"]
        except BaseException:
            self.driver.kill()
            self.driver.wait()
            raise

    def _answers(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps({} if body is None else body).encode() if method == "POST" else None
        request = urllib.request.Request(self.at + path, method=method, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as refused:
            value = json.load(refused)["value"]
            raise WebError("%s: %s" % (value["error"], value["message"].partition("\n")[0])) from None

    def close(self) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *args: Any) -> Any:
        """The value that the body of a function in the page returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def texts(self, selector: str) -> List[str]:
        """What a person can read in each element that is to be seen."""
        return self.run("return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText.trim())", selector)

    def click(self, selector: str) -> None:
        """As with a mouse: what is hidden or lies below something cannot be clicked. Waits until it can."""
        def done() -> bool:
            try:
                found = self._call("POST", "/element", {"using": "css selector", "value": selector})
                self._call("POST", "/element/%s/click" % found[ELEMENT])
                return True
            except WebError as refused:
                if "intercepted" in str(refused) or "not interactable" in str(refused) or "no such element" in str(refused) or "stale" in str(refused):
                    return False
                raise
        until(done, "`%s` can be clicked" % selector, LIMIT_S)

    def complaints(self) -> List[str]:
        """Errors in the console since the last call."""
        return [line["message"] for line in self._call("POST", "/se/log", {"type": "browser"}) if line["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
