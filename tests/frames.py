"""Count the answers a second that the page "Try your face" gives to a webcam of 640x480: run
PYTHONPATH=. .venv/bin/python tests/frames.py after make book, on an idle machine, and write the
line into beyond/tfjs/README.md. Chromium's own moving picture stands for the webcam.
"""

from playwright.sync_api import sync_playwright
from test_page import CHROMIUM, OPTIONS

from hw3 import machine
from hw3.disk import build_dir

SECONDS = 20
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def main() -> None:
    """Print one line: frames a second, the browser, the machine."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *CAMERA])
        page = browser.new_page()
        page.goto((build_dir() / "html" / "book" / "try.html").as_uri())
        page.click(".start")
        page.click(".ask")
        page.wait_for_selector("#hw3-photo[data-answers]")
        count = "Number(document.getElementById('hw3-photo').dataset.answers)"
        before = page.evaluate(count)
        page.wait_for_timeout(1000 * SECONDS)
        rate = (page.evaluate(count) - before) / SECONDS
        print(f"{rate:.1f} frames a second: Chromium {browser.version}, {machine.device()}")
        browser.close()


if __name__ == "__main__":
    main()
