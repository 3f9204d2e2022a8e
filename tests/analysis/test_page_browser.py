"""The HTML page in a real browser: what it shows, what keys and clicks do, and that nothing runs or leaks."""

import os
import shutil

import pytest

from analysis import load_metrics, load_samples
from analysis.page import gather, write_page
from analysis.tables import settings
from tiny_study import answer, write_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>"
WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium in PATH")
    # Chromium's sandbox does not work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


def page_of(root):
    path = root / "report.html"
    write_page(gather(root, settings(load_metrics(root)), load_samples(root)), path)
    return path.as_uri()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three runs of factoidqa, the slowest and worst of them beaten by another, and one of mtbench."""
    root = tmp_path_factory.mktemp("study")
    told = [
        answer("x1"),
        answer("x2", "wrong", output_text=f"x2 is {HOSTILE} a\u202ebig\x07 thing", question=HOSTILE),
        answer("x3", "collapsed", output_text="thing " * 300),
    ]
    write_run(root, "slow", told, method="drop_last", solved_parameter=None, speedup=1.05, quality=0.3)
    write_run(root, "fast", told, speedup=1.3, quality=0.4)
    write_run(root, "hostile", [answer("x1")], method=HOSTILE, speedup=1.2, quality=0.45)
    unknown = "full_quality quality_delta quality_delta_lo quality_delta_hi new_hallucination_rate"
    unknown += " speedup speedup_lo speedup_hi ideal_speedup efficiency"
    alone = answer("y1", None, None, full_output_text=None, quality=None, full_quality=None)
    write_run(root, "alone", [alone], task="mtbench", **dict.fromkeys(unknown.split()))
    return page_of(root)


@pytest.fixture
def opened(browser, request):
    """Open a page and record whatever it complains about or asks the network for."""
    pages = []

    def open_page(address, width=1400, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.set_default_timeout(5000)
        page.complaints, page.requests = [], []
        page.on(
            "console", lambda said: said.type in ("error", "warning") and page.complaints.append(said.text)
        )
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda asked: page.requests.append(asked.url))
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.complaints == []
        assert page.requests == [page.url], "the page asks for itself alone"
        page.close()


def names(page):
    return page.locator("tbody tr[data-run] th button").all_inner_texts()


def point(page, name):
    return page.locator(f'.point[aria-label^="{name}"]')


def header(page, title):
    return page.locator("thead th").filter(has_text=title)


def test_a_header_sorts_and_says_so(opened, study):
    page = opened(study)
    page.select_option("#task", "factoidqa")
    quality = header(page, "Quality")
    assert quality.get_attribute("aria-sort") == "none"
    quality.get_by_role("button").click()
    assert quality.get_attribute("aria-sort") == "descending"
    assert names(page) == [HOSTILE, "ffnskip", "drop_last"]
    # The same by keyboard: the button kept the focus although the table was drawn anew.
    page.keyboard.press("Enter")
    assert quality.get_attribute("aria-sort") == "ascending"
    assert names(page) == ["drop_last", "ffnskip", HOSTILE]
    assert header(page, "Method").get_attribute("aria-sort") == "none"


def test_what_is_unknown_comes_last_in_both_directions(opened, tmp_path):
    write_run(tmp_path, "a", speedup=None)
    write_run(tmp_path, "b", method="drop_last", solved_parameter=None)
    page = opened(page_of(tmp_path))
    for _ in range(2):
        header(page, "Speedup").get_by_role("button").click()
        assert names(page) == ["drop_last", "ffnskip"]


def test_filters_by_task_method_and_outcome(opened, study):
    page = opened(study)
    assert len(names(page)) == 4 and page.locator("figure").count() == 2
    page.select_option("#task", "mtbench")
    assert names(page) == ["ffnskip"]
    page.select_option("#task", "factoidqa")
    assert page.locator("figure").count() == 1
    page.get_by_label("drop_last", exact=True).uncheck()
    assert sorted(names(page)) == sorted(["ffnskip", HOSTILE]) and point(page, "drop_last").count() == 0
    offered = page.locator("#change option").all_inner_texts()
    assert offered[:2] == ["anything", "new wrong (2)"]
    page.select_option("#change", "new wrong")
    assert names(page) == ["ffnskip"]
    page.get_by_label("ffnskip", exact=True).uncheck()
    assert names(page) == [] and "No run fits" in page.inner_text("#notice")


def test_the_front_is_drawn_and_the_rest_faded(opened, study):
    page = opened(study)

    def front():
        labels = "points => points.map(point => point.getAttribute('aria-label').split('; ')[0])"
        return {label.split()[0] for label in page.locator(".on-front").evaluate_all(labels)}

    hostile = HOSTILE.split()[0]
    assert page.locator("figure").first.locator(".front").count() == 1
    assert front() == {"full", "ffnskip", hostile}
    page.select_option("#view", label="new hallucinations and speed")
    assert front() == {"full", "ffnskip"}
    # Where nobody is faster or better, what was beaten no longer is.
    page.get_by_label("ffnskip", exact=True).uncheck()
    page.locator("#methods label").filter(has_text="window.hit").locator("input").uncheck()
    assert front() == {"full", "drop_last"}


def test_a_point_tells_its_numbers_to_pointer_and_keyboard(opened, study):
    page = opened(study)
    tip = page.locator("#tip")
    for look in (lambda one: one.hover(), lambda one: one.focus()):
        page.mouse.move(0, 0)
        assert tip.is_hidden()
        look(point(page, "ffnskip"))
        assert "decode speedup 1.30× (1.05× to 1.16×)" in tip.inner_text()
        assert "quality 0.40 (0.30 to 0.52)" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_arrows_go_from_point_to_point_and_tab_past_them(opened, study):
    page = opened(study)
    here = "document.activeElement.getAttribute('aria-label')"
    page.select_option("#task", "factoidqa")
    page.focus("#view")
    page.keyboard.press("Tab")
    seen = [page.evaluate(here)]
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
        seen.append(page.evaluate(here))
        assert page.locator("#tip").is_visible()
    assert len(set(seen)) == page.locator(".point").count() == 4
    page.keyboard.press("ArrowRight")
    assert page.evaluate(here) == seen[0]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(here) == seen[3]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.point')") is None


def test_tab_reaches_points_headers_and_rows(opened, study):
    page = opened(study)
    page.focus("#view")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("""() => {
            const here = document.activeElement;
            return here.closest("thead") ? "header" : here.closest("tbody") ? "row"
                : here.matches(".point") ? "point" : "other";
        }"""))  # fmt: skip
        if {"header", "row", "point"} <= reached:
            break
    else:
        pytest.fail(f"40 times Tab reach {reached} alone")


@pytest.mark.parametrize("opener", ["point", "row"])
@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_answers_open_and_close_again(opened, study, opener, way):
    page = opened(study)
    if opener == "point":
        target = point(page, "ffnskip")
    else:
        target = page.locator("th button").filter(has_text="ffnskip").first
    if way == "keyboard":
        target.focus()
        page.keyboard.press("Enter")
    elif opener == "row":  # anywhere in it
        page.locator("tbody tr[data-run]").filter(has=target).first.locator("td").last.click()
    else:
        target.click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h2").inner_text().startswith("ffnskip")
    assert dialog.locator("article .change").all_inner_texts() == ["new wrong", "collapsed", "right"]
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert target.evaluate("target => target === document.activeElement")


def test_rows_are_told_apart_by_name(opened, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, f"r{seed}", seed=seed)
    labels = "all => all.map(one => one.getAttribute('aria-label'))"
    told = opened(page_of(tmp_path)).locator("tbody button").evaluate_all(labels)
    assert len(set(told)) == 2 and all(one.startswith("ffnskip ") for one in told)


def test_answers_stand_beside_the_full_models(opened, study):
    page = opened(study)
    point(page, "ffnskip").click()
    card = page.locator("article").filter(has_text="What is x1?")
    assert card.locator(".text").all_inner_texts() == ["x1 is a small thing.", "x1 is a very large thing."]
    assert card.locator("del").all_inner_texts() == ["small"]
    assert card.locator("ins").all_inner_texts() == ["very large"]
    assert "a small thing" in card.locator(".reference").inner_text()
    full, own = card.locator(".notes").all_inner_texts()
    assert "cut off by the length limit" in full and "decode 0.50 s" in full and "8 tokens" in full
    assert "correct" in own and "ended" in own and "9 tokens" in own
    assert not card.locator("pre").is_visible()
    card.get_by_text("Prompt").click()
    assert card.locator("pre").inner_text() == "Answer.\nWhat is x1?"
    page.locator('.chips [data-change="collapsed"]').click()
    assert page.locator("article .change").all_inner_texts() == ["collapsed"]


def test_words_that_both_have_are_not_marked(opened, tmp_path):
    told = answer("x", full_output_text="one two  three\nfour five", output_text="zero two and and four six")
    write_run(tmp_path, "r", [told])
    page = opened(page_of(tmp_path))
    page.locator("tbody button").click()
    assert page.locator("del").all_inner_texts() == ["one", "three", "five"]
    assert page.locator("ins").all_inner_texts() == ["zero", "and and", "six"]
    assert page.locator(".text").first.text_content() == "one two  three\nfour five"


def test_many_answers_come_in_parts(opened, tmp_path):
    write_run(tmp_path, "r", [answer(f"x{number:02}") for number in range(25)])
    page = opened(page_of(tmp_path))
    page.get_by_role("button", name="ffnskip").first.click()
    assert page.locator("article").count() == 20
    page.get_by_role("button", name="Show 5 more of 5").click()
    assert page.locator("article").count() == 25
    assert "x20" in page.evaluate("document.activeElement.textContent")


def test_model_output_is_only_ever_text(opened, study):
    page = opened(study)
    point(page, "ffnskip").click()
    card = page.locator("article").first
    assert HOSTILE in card.locator("h3").inner_text()
    assert "a\\u202Ebig\\u0007 thing" in card.locator(".text").last.inner_text()
    assert card.locator(".text").last.locator(".escape").all_inner_texts() == ["\\u202E", "\\u0007"]
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0 and page.locator("script").count() == 7
    assert not page.evaluate("/[\\u202e\\u0007]/.test(document.body.innerText)")


def test_the_policy_stops_what_should_slip_through(opened, study):
    page = opened(study)
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.append("window.hit = 1");
        try { document.body.append(script); } catch { /* refused at once */ }
    }""")
    assert page.evaluate("window.hit") is None
    page.wait_for_timeout(0)
    assert any("TrustedScript" in one for one in page.complaints)
    page.complaints.clear()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(opened, study, width):
    page = opened(study, width)

    def spill(of):
        return page.evaluate(f"{of}.scrollWidth - {of}.clientWidth")

    assert spill("document.documentElement") == 0
    point(page, "ffnskip").first.focus()
    assert spill("document.documentElement") == 0 and page.locator("#tip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert spill("document.documentElement") == 0 and spill("document.querySelector('dialog')") == 0
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": WIDTHS[width == WIDTHS[0]], "height": 900})
    page.wait_for_function("document.querySelector('figure svg').clientWidth <= innerWidth")
    assert spill("document.documentElement") == 0


def test_motion_and_paper(opened, study):
    page = opened(study, reduced_motion="reduce")
    moves = "getComputedStyle(document.querySelector('.mark')).transitionDuration"
    assert page.evaluate(moves) == "0s"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#task").is_hidden() and page.locator("#runs").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_runs_that_cannot_be_drawn_are_named(opened, study):
    page = opened(study)
    page.select_option("#task", "mtbench")
    said = page.inner_text("figure")
    assert "Nothing to draw" in said and "1 of 1 runs are not drawn: their decode speedup" in said
    page.get_by_role("button", name="ffnskip").first.click()
    assert page.locator("article .none").inner_text() == "not run"
    assert "full model –" in page.inner_text("dialog dl")


def test_a_window_that_changes_below_the_answers_keeps_the_place(opened, study):
    page = opened(study)
    page.select_option("#task", "factoidqa")
    point(page, "ffnskip").focus()
    page.keyboard.press("Enter")
    page.set_viewport_size({"width": 700, "height": 900})
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelector('figure svg').clientWidth <= 700")
    assert point(page, "ffnskip").evaluate("one => one === document.activeElement")


def test_what_a_reader_must_know_stands_first(opened, tmp_path):
    write_run(tmp_path, "r")
    path = tmp_path / "report.html"
    found = settings(load_metrics(tmp_path))
    write_page(gather(tmp_path, found, load_samples(tmp_path), [f"one {HOSTILE}", "two"]), path)
    page = opened(path.as_uri())
    assert page.locator("#notes li").all_inner_texts() == [f"one {HOSTILE}", "two"]
    write_page(gather(tmp_path, found, load_samples(tmp_path)), path)
    assert opened(path.as_uri()).locator("#notes").is_hidden()


def test_few_hallucinations_for_want_of_answers_are_explained(opened, tmp_path):
    write_run(tmp_path, "r", collapse_rate=0.8, new_hallucination_rate=0.0)
    page = opened(page_of(tmp_path))
    assert "collapsed in" not in page.inner_text("figure")
    page.select_option("#view", label="new hallucinations and speed")
    assert "collapsed in 1 of the 1 runs drawn" in page.inner_text("figure")


def test_a_folder_without_finished_runs(opened, tmp_path):
    page = opened(page_of(tmp_path))
    assert page.inner_text("#notice") == "There are no finished runs in this folder."
    assert page.locator("#filters").is_hidden() and page.locator("#runs").is_hidden()


def test_a_run_without_stored_answers(opened, tmp_path):
    write_run(tmp_path, "r")
    page = opened(page_of(tmp_path))
    page.get_by_role("button", name="ffnskip").first.click()
    assert "no stored answers" in page.inner_text("dialog")
