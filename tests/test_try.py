"""The page "Try your face": its networks are Keras's, its pictures Pillow's, its drawn faces hw3's,
and it sends nothing.
"""

import hashlib
import re
from contextlib import contextmanager
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image
from test_page import browser, html, opened  # noqa: F401  two are fixtures

from beyond import demo
from hw3 import disk, faces, models, recipes, train, weights
from hw3.sources import drawn

CLASSIFY = "async ([name, gray]) => [...(await hw3Try.network(name))(Uint8Array.from(gray))]"
SHARES = "root => [...root.querySelectorAll('.share')].map(e => parseFloat(e.textContent) / 100)"
FACE = """root => {
    const {data} = root.querySelector('.face').getContext('2d').getImageData(0, 0, 48, 48);
    return [...data].filter((_, i) => i % 4 === 0);
}"""


@pytest.fixture
def page(html, browser, monkeypatch):  # noqa: F811
    """Open the page from disk, without a network; nothing may have gone wrong on it when the test
    is done.
    """
    monkeypatch.setenv("HW3_BUILD", str(html.parent))
    with opened(browser, html / "book" / "try.html") as (tab, wrong):
        yield tab
        assert wrong == []


@contextmanager
def answered(page, box):
    """Do something with a box, and wait for its answer."""
    count = "id => Number(document.getElementById(id).dataset.answers ?? 0)"
    before = page.evaluate(count, box)
    yield
    page.wait_for_function(f"([id, before]) => ({count})(id) > before", arg=[box, before])


def face_and_shares(page, box):
    """Return the face that a box shows, (48, 48), and the seven shares beside it."""
    root = page.locator(f"#{box}")
    return np.reshape(root.evaluate(FACE), (48, 48)).astype(np.uint8), np.array(
        root.evaluate(SHARES)
    )


def choose(page, path):
    """Choose a picture, whose square is then there, unless it is none."""
    page.set_input_files("#hw3-photo [type=file]", path)


def ask(page, path):
    """Choose a picture, and ask for the network's answer."""
    choose(page, path)
    with answered(page, "hw3-photo"):
        page.locator("#hw3-photo .ask").click()


def part(page):
    """Return left, top, width and height of the square, as shares of the picture."""
    return page.locator("#hw3-photo").evaluate(
        """root => {
        const whole = root.querySelector('.picture').getBoundingClientRect();
        const part = root.querySelector('.square').getBoundingClientRect();
        return [(part.x - whole.x) / whole.width, (part.y - whole.y) / whole.height,
            part.width / whole.width, part.height / whole.height];
    }"""
    )


def press(page, *keys):
    for key in keys:
        page.locator("#hw3-photo .square").press(key)


def slide(page, name, value):
    page.locator(f"[name={name}]").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value
    )


def own_network():
    return weights.load_model("cnn", faces.find(), recipes.recipe("cnn", "smoke"))


def test_page_and_keras_agree_on_100_faces(page):
    images, _, _ = drawn.draw(100, seed=99)
    for name, network, some in (
        ("own", own_network(), images),
        ("recorded", weights.load_small()[0], images[:20]),
        ("drawn", weights.load_small(drawn=True)[0], images),
    ):
        here = np.reshape(page.evaluate(CLASSIFY, [name, some.ravel().tolist()]), (len(some), 7))
        np.testing.assert_allclose(here, train.predict(network, some), rtol=0, atol=0.01)
        assert len(set(here.argmax(1))) > 1


def test_page_makes_of_a_picture_the_face_that_hw3_predict_makes(page, tmp_path):
    network, rng = weights.load_small()[0], np.random.default_rng(1)
    sizes = {
        "wide.png": (120, 200),
        "tall.png": (300, 110),
        "tiny.png": (20, 30),
        "clear.png": (90, 90),
        "deep.png": (90, 60),
    }
    for name, (height, width) in sizes.items():
        colors = 4 if name == "clear.png" else 3  # in part transparent
        rough = Image.fromarray(rng.integers(0, 256, (6, 6, colors), dtype=np.uint8))
        rough = rough.resize((width, height), Image.Resampling.BICUBIC)
        deep = Image.fromarray(np.asarray(rough.convert("L")).astype(np.uint16) * 257)
        (deep if name == "deep.png" else rough).save(tmp_path / name)
        ask(page, tmp_path / name)
        face, shares = face_and_shares(page, "hw3-photo")
        expected = faces.picture(tmp_path / name)
        assert np.abs(face.astype(int) - expected).max() <= 1, name
        np.testing.assert_allclose(
            shares, train.predict(network, expected[None])[0], rtol=0, atol=0.0105
        )  # a digit is cut


@pytest.fixture
def half(tmp_path):
    """Return a picture, 200 x 100, that is white in its right quarter."""
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 150:] = 255
    Image.fromarray(picture).save(tmp_path / "half.png")
    return tmp_path / "half.png"


def test_the_square_comes_first_and_the_answer_when_asked_for(page, half):
    choose(page, half)
    square, answer = page.locator("#hw3-photo .square"), page.locator("#hw3-photo .answer")
    square.wait_for()
    assert square.evaluate("e => e === document.activeElement"), "the keys move it"
    press(page, "ArrowRight")
    page.wait_for_timeout(200)
    assert answer.is_hidden()
    assert page.locator("#hw3-photo").get_attribute("data-answers") is None
    with answered(page, "hw3-photo"):
        page.get_by_role("button", name="Ask the network").click()
    assert answer.is_visible()
    with answered(page, "hw3-photo"):  # from now on it follows the square
        press(page, "ArrowRight")
    choose(page, half.rename(half.with_name("other.png")))
    answer.wait_for(state="hidden")
    page.get_by_role("button", name="Ask the network").wait_for()


def test_square_of_full_size_moves_both_ways_in_ten_steps_of_the_keys(page, half):
    ask(page, half)
    np.testing.assert_allclose(part(page), (0.25, 0, 0.5, 1), atol=0.01)
    assert face_and_shares(page, "hw3-photo")[0].mean() < 5, "what is white lies beside it"
    with answered(page, "hw3-photo"):
        press(page, *["ArrowRight"] * 5, *["ArrowUp"] * 5)
    np.testing.assert_allclose(part(page), (0.75, -0.5, 0.5, 1), atol=0.01)
    face = face_and_shares(page, "hw3-photo")[0]
    assert face[:, 1:].min() > 250, "beyond the picture its edge goes on"
    press(page, "ArrowRight", *["ArrowLeft"] * 10, *["ArrowDown"] * 10)
    np.testing.assert_allclose(part(page), (-0.25, 0.5, 0.5, 1), atol=0.01)
    press(page, "Shift+ArrowRight", "-")
    np.testing.assert_allclose(part(page), (-0.215, 0.55, 0.45, 0.9), atol=0.01)
    press(page, *["-"] * 20)
    np.testing.assert_allclose(part(page)[2:], (0.05, 0.1), atol=0.01)
    press(page, *["+"] * 20)
    np.testing.assert_allclose(part(page)[2:], (0.5, 1), atol=0.01)


def test_square_is_resized_by_slider_wheel_and_corners_and_moved_by_dragging(page, half):
    ask(page, half)
    slider = page.get_by_label("Size of the square")
    slider.press("Home")
    np.testing.assert_allclose(part(page), (0.475, 0.45, 0.05, 0.1), atol=0.01)
    for _ in range(4):
        slider.press("ArrowRight")
    np.testing.assert_allclose(part(page), (0.375, 0.25, 0.25, 0.5), atol=0.01)
    page.locator("#hw3-photo .stage").scroll_into_view_if_needed()
    whole = page.locator("#hw3-photo .picture").bounding_box()

    def pixel(x, y):
        return whole["x"] + x * whole["width"], whole["y"] + y * whole["height"]

    before = page.evaluate("scrollY")
    page.mouse.move(*pixel(0.5, 0.5))
    page.locator("#hw3-photo .square").focus()
    page.mouse.wheel(0, -200)
    page.wait_for_function("document.querySelector('[name=size]').value > 500")
    middle_and_side = 0.5 - 0.125 / 0.999**200, 0.25 / 0.999**200
    np.testing.assert_allclose(part(page)[::2], middle_and_side, atol=0.01)
    assert page.evaluate("scrollY") == before
    left, top, width, height = part(page)
    for right, low in ((1, 1), (0, 0), (1, 0), (0, 1)):  # each corner a little inwards
        left, top, width, height = part(page)
        inside = 0.02 if right else -0.02, 0.04 if low else -0.04
        page.mouse.move(*pixel(left + right * width - inside[0], top + low * height - inside[1]))
        page.mouse.down()
        page.mouse.move(
            *pixel(left + right * width - 2 * inside[0], top + low * height - 2 * inside[1])
        )
        page.mouse.up()
        smaller = left + 0.02 * (1 - right), top + 0.04 * (1 - low), width - 0.02, height - 0.04
        np.testing.assert_allclose(part(page), smaller, atol=0.01)
    assert face_and_shares(page, "hw3-photo")[0].max() < 5
    page.mouse.move(*pixel(0.5, 0.5))
    page.mouse.down()
    with answered(page, "hw3-photo"):
        page.mouse.move(*pixel(2, 0.3))
    page.mouse.up()
    assert face_and_shares(page, "hw3-photo")[0].min() > 250
    assert part(page)[0] + part(page)[2] / 2 == pytest.approx(1, abs=0.01)
    with answered(page, "hw3-photo"):
        page.mouse.click(*pixel(0.1, 0.6))  # beside it
    left, top, width, height = part(page)
    assert (left + width / 2, top + height / 2) == pytest.approx((0.1, 0.6), abs=0.01)


def test_square_follows_a_finger(html, browser, half):  # noqa: F811
    """Chromium turns touches into the pointer events that a phone sends."""
    with opened(browser, html / "book" / "try.html") as (tab, wrong):
        choose(tab, half)
        press(tab, *["-"] * 5)
        stage = tab.locator("#hw3-photo .stage")
        stage.scroll_into_view_if_needed()
        whole, touch = stage.bounding_box(), tab.context.new_cdp_session(tab)
        before = tab.evaluate("scrollY")
        x, y = whole["x"] + whole["width"] / 2, whole["y"] + whole["height"] / 2
        for kind, across, down in (("Start", 0, 0), ("Move", 0.1, -0.1), ("Move", 0.2, -0.2)):
            at = {"x": x + across * whole["width"], "y": y + down * whole["height"]}
            touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": [at]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        tab.wait_for_timeout(200)
        np.testing.assert_allclose(part(tab), (0.575, 0.05, 0.25, 0.5), atol=0.02)
        assert tab.evaluate("scrollY") == before
        assert wrong == []


def test_square_stays_with_the_first_of_two_fingers(html, browser, half):  # noqa: F811
    with opened(browser, html / "book" / "try.html") as (tab, wrong):
        choose(tab, half)
        stage = tab.locator("#hw3-photo .stage")
        stage.scroll_into_view_if_needed()
        whole, touch = stage.bounding_box(), tab.context.new_cdp_session(tab)
        x, y = whole["x"] + whole["width"] / 2, whole["y"] + whole["height"] / 2
        for kind, apart in (("Start", 0.05), ("Move", 0.1), ("Move", 0.15)):
            across = (-apart * whole["width"], apart * whole["width"])
            at = [{"x": x + d, "y": y, "id": i} for i, d in enumerate(across)]
            touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": at})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        tab.wait_for_timeout(200)
        np.testing.assert_allclose(part(tab), (0.15, 0, 0.5, 1), atol=0.02)
        assert wrong == []


def test_what_is_no_picture_gets_one_line(page, tmp_path):
    (tmp_path / "no.png").write_text("no picture")
    choose(page, tmp_path / "no.png")
    page.locator("#hw3-photo .say", has_text="is no picture that the browser can read").wait_for()
    assert page.locator("#hw3-photo .sides").is_hidden()
    Image.new("L", (60, 60), 90).save(tmp_path / "gray.png")
    ask(page, tmp_path / "gray.png")
    assert page.locator("#hw3-photo .sides").is_visible()
    choose(page, tmp_path / "no.png")
    page.locator("#hw3-photo .say", has_text="is no picture that the browser can read").wait_for()
    assert page.locator("#hw3-photo .sides").is_hidden(), "they showed another file"


def test_the_picture_chosen_last_is_shown_also_where_an_earlier_one_takes_longer(page, tmp_path):
    for name, gray in (("slow", 250), ("fast", 10)):
        Image.new("L", (60, 60), gray).save(tmp_path / f"{name}.png")
    page.evaluate(
        """() => {
        const make = createImageBitmap;
        globalThis.createImageBitmap = async (file) => {
            const until = (resolve) => { globalThis.late = resolve; };
            if (file.name === "slow.png") await new Promise(until);
            return make(file);
        };
    }"""
    )
    choose(page, tmp_path / "slow.png")
    page.wait_for_function("typeof late === 'function'")
    ask(page, tmp_path / "fast.png")
    page.evaluate("late()")
    page.wait_for_timeout(300)
    assert face_and_shares(page, "hw3-photo")[0].max() == 10


@pytest.mark.parametrize(
    "event",
    [
        "new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true})",
        "new ClipboardEvent('paste', {clipboardData: dataTransfer, bubbles: true})",
    ],
    ids=["dropped", "pasted"],
)
def test_a_dropped_or_pasted_picture_gives_the_field_its_name(page, event):
    page.evaluate(
        f"""async () => {{
        const canvas = new OffscreenCanvas(50, 40), dataTransfer = new DataTransfer();
        canvas.getContext("2d").fillRect(0, 0, 50, 40);
        const blob = await canvas.convertToBlob();
        dataTransfer.items.add(new File([blob], "given.png", {{type: "image/png"}}));
        document.getElementById("hw3-photo").dispatchEvent({event});
    }}"""
    )
    page.locator("#hw3-photo .square").wait_for()
    assert page.locator("#hw3-photo [type=file]").input_value().endswith("given.png")
    assert part(page) == pytest.approx((0.1, 0, 0.8, 1), abs=0.01)
    page.evaluate(f"const dataTransfer = new DataTransfer(); document.body.dispatchEvent({event})")
    page.wait_for_timeout(100)
    assert page.locator("#hw3-photo .square").is_visible(), "words are no picture"


def test_webcam_is_shown_until_it_is_stopped_or_said_to_be_missing(page):
    page.evaluate(
        """() => {
        const refuse = async () => { throw new Error('Permission denied'); };
        navigator.mediaDevices.getUserMedia = refuse;
    }"""
    )
    page.click(".start")
    page.locator("#hw3-photo .say", has_text="There is no webcam to use").wait_for()
    page.evaluate(
        """() => {
        const canvas = Object.assign(document.createElement("canvas"), {width: 64, height: 48});
        const context = canvas.getContext("2d");
        setInterval(() => {
            context.fillStyle = `rgb(${Math.random() * 255}, 9, 9)`;
            context.fillRect(0, 0, 64, 48);
        }, 20);
        globalThis.stream = canvas.captureStream();
        globalThis.asked = 0;
        navigator.mediaDevices.getUserMedia = async () => { asked += 1; return stream; };
    }"""
    )
    page.dblclick(".start")
    with answered(page, "hw3-photo"):
        page.click(".ask")
    assert page.evaluate("asked") == 1, "a second camera would never be stopped"
    with answered(page, "hw3-photo"):
        pass  # the next picture comes by itself
    page.click(".stop")
    assert page.evaluate("stream.getTracks().every(track => track.readyState === 'ended')")


def test_a_picture_chosen_while_the_webcam_is_asked_for_stays_and_the_camera_is_stopped(
    page, tmp_path
):
    page.evaluate(
        """() => {
        globalThis.stream = document.createElement("canvas").captureStream();
        const wait = (resolve) => { globalThis.allow = () => resolve(stream); };
        navigator.mediaDevices.getUserMedia = () => new Promise(wait);
    }"""
    )
    page.click(".start")
    Image.new("L", (60, 60), 90).save(tmp_path / "gray.png")
    ask(page, tmp_path / "gray.png")
    page.evaluate("allow()")
    page.wait_for_function("stream.getTracks().every(track => track.readyState === 'ended')")
    assert page.locator(".stop").is_hidden()
    assert face_and_shares(page, "hw3-photo")[0].max() == 90


def test_sliders_turn_fear_into_neutral(page):
    box, network = page.locator("#hw3-drawn"), weights.load_small(drawn=True)[0]
    with answered(page, "hw3-drawn"):
        box.scroll_into_view_if_needed()
    fear, shares = face_and_shares(page, "hw3-drawn")
    np.testing.assert_allclose(shares, train.predict(network, fear[None])[0], rtol=0, atol=0.0105)
    moved = dict(
        zip(
            drawn.UNITS,
            box.evaluate("e => [...e.querySelectorAll('.units input')].map(i => Number(i.value))"),
            strict=True,
        )
    )
    assert {unit for unit, value in moved.items() if value == 1} == set(
        drawn.EXPRESSIONS[faces.EMOTIONS.index("Fear")]
    )
    with answered(page, "hw3-drawn"):
        slide(page, "intensity", 0)
    neutral, shares = face_and_shares(page, "hw3-drawn")
    np.testing.assert_allclose(
        shares, train.predict(network, neutral[None])[0], rtol=0, atol=0.0105
    )
    assert np.abs(fear.astype(int) - neutral).max() > 50
    with answered(page, "hw3-drawn"):
        page.get_by_label("26: jaw drop").press("End")
    assert (face_and_shares(page, "hw3-drawn")[0] != neutral).any()
    expression, intensity = (page.locator(f"[name={name}]") for name in ("emotion", "intensity"))
    assert expression.input_value() == "own", "it is fear no more"
    assert intensity.is_disabled()
    expression.select_option("Happy")
    assert (intensity.is_enabled(), intensity.input_value()) == (True, "1")
    expression.select_option("Neutral")
    assert intensity.is_disabled()
    with answered(page, "hw3-drawn"):
        page.get_by_text("Another face").click()
    assert (face_and_shares(page, "hw3-drawn")[0] != neutral).mean() > 0.5


def test_every_expression_and_other_neutral_faces_are_read_right(page):
    """The face of the page's own traits, then nine drawn by chance, here the same each time."""
    page.evaluate("let n = 7; Math.random = () => (n = (n * 16807) % 2147483647) / 2147483647")
    box = page.locator("#hw3-drawn")
    with answered(page, "hw3-drawn"):
        box.scroll_into_view_if_needed()
    for name in (*faces.EMOTIONS[:2], *faces.EMOTIONS[3:], "Fear"):  # it begins with Fear
        with answered(page, "hw3-drawn"):
            box.locator("[name=emotion]").select_option(name)
        assert box.locator(".say").inner_text() == f"Most likely: {name}"
    box.locator("[name=emotion]").select_option("Neutral")
    said = []
    for _ in range(9):
        with answered(page, "hw3-drawn"):
            box.get_by_text("Another face").click()
        said.append(box.locator(".say").inner_text())
    assert said.count("Most likely: Neutral") >= 8


def test_the_builds_own_network_answers_where_it_is_chosen(page):
    box = page.locator("#hw3-drawn")
    with answered(page, "hw3-drawn"):
        box.scroll_into_view_if_needed()
    face, first = face_and_shares(page, "hw3-drawn")
    with answered(page, "hw3-drawn"):
        box.get_by_label("Network").select_option("this build's")
    same, second = face_and_shares(page, "hw3-drawn")
    assert np.array_equal(face, same)
    for network, shares in ((weights.load_small(drawn=True)[0], first), (own_network(), second)):
        expected = train.predict(network, face[None])[0]
        np.testing.assert_allclose(shares, expected, rtol=0, atol=0.0105)
    photo = page.locator("#hw3-photo [name=network] option")
    assert photo.all_text_contents() == ["recorded, learned from FER2013"]
    assert 'value="own"' in demo.box("photo", own=True).data, "offered where it learned from such"


def test_chinese_page_names_emotions_and_action_units_in_chinese(html, browser):  # noqa: F811
    with opened(browser, html / "zh" / "book" / "try.html") as (tab, wrong):
        names = tab.locator("#hw3-drawn").locator("[name=emotion] option, .units label, dt")
        shown = names.all_text_contents()
    assert len(shown) == 1 + 2 * faces.N_CLASSES + len(drawn.UNITS), "own mix, options, bars, units"
    assert [text for text in shown if re.search("[A-Za-z]", text)] == wrong == []


def test_page_draws_the_same_faces_as_hw3(page):
    rng, names = np.random.default_rng(3), list(drawn.TRAITS)
    low, high = np.array(list(drawn.TRAITS.values())).T
    for _ in range(30):
        traits = dict(zip(names, low + (high - low) * rng.random(len(names)), strict=True)) | {
            "cover": -1.0
        }  # no hand in front
        units, noise = (
            dict(zip(drawn.UNITS, rng.random(len(drawn.UNITS)), strict=True)),
            rng.random((1, 48, 48)),
        )
        arguments = [
            traits,
            {str(unit): value for unit, value in units.items()},
            noise.ravel().tolist(),
        ]
        here = page.evaluate("given => [...hw3Try.draw(...given)]", arguments)
        t, au = (
            {name: np.full((1, 1, 1), v, np.float32) for name, v in values.items()}
            for values in (traits, units)
        )
        there = drawn._picture(
            SimpleNamespace(**t),
            au,
            SimpleNamespace(random=lambda *_, noise=noise: noise.astype(np.float32)),
        )
        assert np.abs(there.astype(int) - np.reshape(here, (1, 48, 48))).max() <= 1


def test_browser_keeps_the_page_from_sending_anything(html, browser):  # noqa: F811
    with opened(browser, html / "book" / "try.html") as (tab, _):
        refused = tab.evaluate(
            """async () => {
            const refused = [], to = (what) => `http://192.0.2.1/${what}`;
            const note = (event) => refused.push(event.blockedURI);
            document.addEventListener("securitypolicyviolation", note);
            fetch(to("fetch"), {method: "POST", body: "x"}).catch(() => 0);
            try { const r = new XMLHttpRequest(); r.open("GET", to("xhr")); r.send(); } catch {}
            try { new WebSocket("ws://192.0.2.1/socket"); } catch {}
            try { new EventSource(to("events")); } catch {}
            navigator.sendBeacon(to("beacon"), "x");
            new Image().src = to("image");
            const element = (tag, src) => Object.assign(document.createElement(tag), {src});
            document.head.append(element("script", to("script")));
            document.body.append(element("iframe", to("frame")));
            for (let i = 0; i < 100 && refused.length < 8; i += 1) {
                await new Promise((resolve) => setTimeout(resolve, 20));
            }
            return refused;
        }"""
        )
    frame = "192.0.2.1"
    tried = {"fetch", "xhr", "socket", "events", "beacon", "image", "script", frame}
    assert {url.rpartition("/")[2] for url in refused} == tried


def test_a_missing_network_is_said_in_one_line(html, browser):  # noqa: F811
    with opened(browser, html / "book" / "try.html") as (tab, wrong):
        tab.evaluate("document.querySelector('#hw3-drawn [name=network] option').value = 'lost'")
        tab.locator("#hw3-drawn").scroll_into_view_if_needed()
        tab.locator("#hw3-drawn .say", has_text="could not be loaded").wait_for()
        assert [what.rpartition("/")[2] for what in wrong if what.startswith("not loaded")] == [
            "lost.js"
        ]


@pytest.mark.keras
def test_shipped_network_is_small_and_has_the_layers_in_order():
    network = models.cnn()
    steps, weights = demo.pack(network)
    blocks = [
        kind
        for _, depth in models.CNN_BLOCKS
        for kind in [*["Conv2D", "LeakyReLU"] * depth, "MaxPooling2D"]
    ]
    head = ["Flatten", *["Dense", "LeakyReLU"] * len(models.CNN_HEAD), "Dense", "Softmax"]
    assert [step[0] for step in steps] == [*blocks, *head]
    kernels = [w for w in network.get_weights() if w.ndim > 1]
    assert len(weights) == sum(k.size + 8 * k.shape[-1] for k in kernels) < 8e6
    assert demo.ship("untrained", network) == len(weights)
    assert (
        disk.build_dir() / "demo" / "untrained.js"
    ).stat().st_size < 8.1e6  # base64: four letters for three bytes


@pytest.mark.keras
def test_rounding_moves_a_weight_by_half_a_step_at_most_and_only_once():
    network = models.cnn()
    small = weights.rounded(network)
    for before, after in zip(network.get_weights(), small.get_weights(), strict=True):
        step = (
            np.abs(before).max(axis=tuple(range(before.ndim - 1)), keepdims=True) / 127
            if before.ndim > 1
            else 0
        )
        assert (np.abs(before - after) <= 0.501 * step).all()
    again = weights.rounded(small)
    for once, twice in zip(small.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(twice, once, rtol=1e-5, atol=1e-7)


@pytest.mark.keras
def test_what_the_page_cannot_run_is_refused_in_one_line():
    network = keras.Sequential(
        [keras.Input((48, 48, 1)), keras.layers.GlobalAveragePooling2D(name="mean")]
    )
    with pytest.raises(
        ValueError, match=r"^the demo cannot run layer mean \(GlobalAveragePooling2D\): teach it to"
    ):
        demo.pack(network)
    with pytest.raises(ValueError, match=r"no JavaScript for this in hw3/sources/drawn\.py: "):
        demo.javascript(drawn._fit)


def test_vendored_runtime_is_what_its_packages_ship():
    folder = demo.HERE / "tfjs"
    sums = dict(re.findall(r"^    ([0-9a-f]{64})  (\S+)", (folder / "README.md").read_text(), re.M))
    assert {
        hashlib.sha256((folder / name).read_bytes()).hexdigest(): name
        for name in (*demo.RUNTIME, demo.BINARY)
    } == sums
