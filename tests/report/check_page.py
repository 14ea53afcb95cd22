#!/usr/bin/env python3
"""Opens the pages of `fathom compare --html` in headless Chromium: no error, no request, every chart and heat map drawn,
nothing wider than a phone, in the light and in the dark, by pointer and by keyboard, and on paper.

    check_page.py --fathom build/release/src/cli/fathom [--screenshots FOLDER]

Exit code 0: all is well; 1: something is not; 77: SKIPPED, because there is no Chromium.
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import make_probes
import make_runs
from browser import Browser, find_chromium

# Name, width, height, dark, phone.
VIEWS = [("desktop", 1280, 900, False, False), ("desktop-dark", 1280, 900, True, False),
         ("phone", 360, 780, False, True), ("phone-dark", 360, 780, True, True)]

# How many colours a canvas holds: a blank one has one, axes alone have a handful.
STATE = """(() => {
  const colours = (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
  };
  const background = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
  return {
    marked: Number(document.documentElement.dataset.charts),
    canvases: [...document.querySelectorAll(".canvas canvas")].map((c) => [c.getAttribute("aria-label"), colours(c)]),
    maps: [...document.querySelectorAll(".map canvas")].map((c) => [c.getAttribute("aria-label"), colours(c)]),
    width: document.documentElement.scrollWidth,
    brightness: background.slice(0, 3).reduce((a, b) => a + b) / 3,
    text: document.body.innerText,
  };
})()"""

# The tooltip of the first chart, as it stands after the pointer has moved over its middle.
TOOLTIP = """(() => {
  const { title, body, opacity } = Chart.getChart(document.querySelector("canvas")).tooltip;
  return opacity === 1 ? [title.join(), ...body.flatMap((item) => item.lines)] : [];
})()"""


# Page, the files of make_probes.py on it, charts, heat maps.
DIAGNOSES = [("full", ["full", "sweep", "attn", "runs"], 21, 4), ("overlay", ["full", "sweep", "other", "long"], 24, 12),
             ("quick", ["quick"], 14, 2), ("one", ["one"], 18, 2), ("hundred", ["hundred"], 18, 4), ("gaps", ["gaps"], 17, 4)]


class Checks:
    def __init__(self, quiet=False):
        self.failed, self.quiet = 0, quiet

    def expect(self, holds, what):
        if not holds:
            self.failed += 1
            if not self.quiet:
                print(f"FAILED: {what}")


def check_the_check(checks, browser, page, folder):
    """A page that throws, and one that asks for a file, must be caught."""
    fetch = '<img src="https://example.invalid/x.png">'
    for mark, spoilt in (("drawAll();", "boom();"), ('<main id="page">', f'{fetch}<main id="page">')):
        text = page.read_text()
        checks.expect(mark in text, f"the page has no {mark} to spoil")
        spoiled = folder / "spoiled.html"
        spoiled.write_text(text.replace(mark, spoilt, 1))
        caught = Checks(quiet=True)
        browser.show(spoiled, 1280, 900, False, patience_s=1)
        check_events(caught, "spoiled", browser.events)
        checks.expect(caught.failed > 0, f"a page with {spoilt} passes the check")


def check_events(checks, name, events):
    for event in events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            checks.expect(False, f"{name}: exception {json.dumps(params['exceptionDetails'])[:400]}")
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            checks.expect(False, f"{name}: console {params['type']} {params['args']}")
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            checks.expect(False, f"{name}: log {params['entry']['text']}")
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            checks.expect(url.startswith(("file:", "data:")), f"{name}: the page asks for {url}")


def check_view(checks, browser, page, view, charts, maps):
    name, width, height, dark, phone = view
    browser.show(page, width, height, dark, phone)
    state = browser.evaluate(STATE)
    name = f"{page.stem}, {name}"
    check_events(checks, name, browser.events)
    checks.expect(state["marked"] == charts + maps, f"{name}: data-charts is {state['marked']}, not {charts + maps}")
    checks.expect(len(state["canvases"]) == charts, f"{name}: {len(state['canvases'])} charts, not {charts}")
    for label, colours in state["canvases"] + state["maps"]:
        checks.expect(colours >= 20, f"{name}: '{label}' is blank ({colours} colours)")
    checks.expect(len(state["maps"]) == maps, f"{name}: {len(state['maps'])} heat maps, not {maps}")
    checks.expect(state["width"] <= width, f"{name}: {state['width']} pixels wide")
    checks.expect((state["brightness"] < 60) == dark, f"{name}: brightness {state['brightness']}")
    return state["text"]


def check_touch(checks, browser, page):
    """Hovering shows values; the toggles redraw; a change of theme recolours the charts."""
    browser.show(page, 1280, 900, False)
    hover(browser, "canvas")
    tooltip = browser.evaluate(TOOLTIP)
    checks.expect(len(tooltip) == 5 and "tokens" in tooltip[0], f"the tooltip of the loss chart is {tooltip}")
    for key in ("Log x", "Second half", "Log y"):
        before = "[...document.querySelectorAll('canvas')].map((c) => c.toDataURL()).join()"
        drawn = browser.evaluate(before)
        browser.evaluate(f"[...document.querySelectorAll('button')].find((b) => b.textContent === '{key}').click()")
        checks.expect(browser.evaluate(before) != drawn, f"'{key}' changes nothing")
    colour = "Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor"
    light = browser.evaluate(colour)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.evaluate("new Promise((done) => setTimeout(done, 100))")
    checks.expect(browser.evaluate(colour) != light, "the charts keep their colours when the theme changes")
    check_events(checks, "touch", browser.events)


def hover(browser, selector, shift=0):
    """Moves the pointer over the middle of the first such element."""
    browser.evaluate(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    box = browser.evaluate("(({x, y, width, height}) => [x + width / 2, y + height / 2])"
                           f"(document.querySelector('{selector}').getBoundingClientRect())")
    for step in (3, 0):
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + shift + step, y=box[1])
    browser.evaluate("new Promise((done) => setTimeout(done, 100))")


def press(browser, key):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
    browser.evaluate("new Promise((done) => setTimeout(done, 60))")


def check_diagnosis(checks, browser, page):
    """Cells are read by pointer and by keyboard; definitions unfold; depth is relative where layers are not as many."""
    tip = "[...document.querySelectorAll('.tip')].filter((t) => !t.hidden).map((t) => t.textContent)"
    browser.show(page, 1280, 900, False)
    hover(browser, ".map canvas")
    read = browser.evaluate(tip)
    checks.expect(len(read) == 1 and read[0].startswith("from layer ") and read[0].endswith("\u00b0"), f"the cell says {read}")
    browser.evaluate("document.querySelector('.map canvas').focus()")
    press(browser, "ArrowRight")
    moved = browser.evaluate(tip)
    checks.expect(len(moved) == 1 and moved != read, f"the arrow key leads from {read} to {moved}")
    browser.evaluate("document.activeElement.blur()")
    checks.expect(browser.evaluate(tip) == [], "the cell stays pointed out when the map is left")
    browser.evaluate("document.querySelector('.canvas canvas').focus()")
    press(browser, "ArrowRight")
    tooltip = browser.evaluate(TOOLTIP)
    checks.expect(len(tooltip) > 1, f"the arrow key shows no value of a chart: {tooltip}")
    shown = "document.querySelector('.define .formula').checkVisibility()"
    checks.expect(not browser.evaluate(shown), "a definition is open before it is asked for")
    browser.evaluate("document.querySelector('.define summary').click()")
    checks.expect(browser.evaluate(shown), "a definition does not open")
    checks.expect(browser.evaluate("document.querySelectorAll('.formula sub').length") > 5, "formulas have no subscripts")
    broken = browser.evaluate("[...document.querySelectorAll('nav a')].filter((a) => !document.querySelector("
                              "a.getAttribute('href'))).map((a) => a.textContent)")
    checks.expect(broken == [], f"links that lead nowhere: {broken}")
    relative = browser.evaluate("Chart.getChart(document.querySelector('.canvas canvas')).options.scales.x.title.text")
    checks.expect("relative depth" in relative, f"models of 30 and 24 layers share the axis '{relative}'")
    check_events(checks, "diagnosis", browser.events)


def check_paper(checks, browser, page, pdf):
    """From a dark screen onto white paper."""
    browser.show(page, 1280, 900, True)
    browser.evaluate("addEventListener('beforeprint', () => { window.printed = "
                     "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim(); })")
    pages = browser.print_pdf(pdf)
    checks.expect(3 <= pages <= 30, f"{page.stem} takes {pages} sheets of paper")
    checks.expect(browser.evaluate("window.printed") == "#ffffff", "a dark page is printed dark")
    check_events(checks, "paper", browser.events)


def compare(fathom, folders, page):
    subprocess.run([fathom, "compare", *map(str, folders), "--html", str(page)], check=True, stdout=subprocess.DEVNULL)


def check_probe(checks, fathom, folder):
    """`fathom probe --html` itself, on a checkpoint of the goldens in a run folder: the page, and probe.json for compare."""
    golden = Path(__file__).parents[1] / "golden" / "data" / "lns"
    run = folder / "probed"
    shutil.copytree(golden, run / "checkpoints" / "step-1")
    (folder / "ids.json").write_text(json.dumps(json.loads((golden / "expected.json").read_text())["tokens"][0]))
    page = folder / "probed.html"
    subprocess.run([fathom, "probe", str(run), "--token-ids", str(folder / "ids.json"), "--html", str(page)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    probe = json.loads((run / "probe.json").read_text())
    checks.expect(probe["checkpoint"].endswith("step-1") and len(probe["per_layer"]) == probe["layers"],
                  "probe.json in the run folder is not the diagnosis")
    again = folder / "again.html"
    compare(fathom, [run / "probe.json"], again)
    checks.expect(again.read_text() == page.read_text(), "compare makes another page of probe.json than probe did")
    return page


def diagnose(fathom, folder, name, files):
    page = folder / f"{name}.html"
    compare(fathom, [folder / "probes" / f"{file}.json" for file in files], page)
    return page


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", required=True)
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    program = find_chromium()
    if program is None:
        print("SKIPPED: no chromium on this machine (Debian: apt install chromium)")
        return 77
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="fathom-page-") as folder:
        folder = Path(folder)
        make_runs.write_run(folder / "pre", "pre", 24, 1000)
        make_runs.write_run(folder / "lns", "lns", 24, 1000)
        # A run in the middle of its life whose name tries to break out of the page.
        odd = folder / "<script>alert(1)<!--&amp;"
        make_runs.write_run(odd, "post", 24, 200, seed=7, probes=False, sweep=False)
        many = list(make_runs.SCHEMES)
        for scheme in many:
            make_runs.write_run(folder / "many" / scheme, scheme, 12, 200)
        twins, mixed, crowd, bare = (folder / f"{name}.html" for name in ("twins", "mixed", "crowd", "bare"))
        compare(options.fathom, [folder / "pre", folder / "lns"], twins)
        compare(options.fathom, [folder / "pre", odd], mixed)
        compare(options.fathom, [folder / "many" / scheme for scheme in many], crowd)
        compare(options.fathom, [odd], bare)
        make_probes.write_all(folder / "probes")
        diagnoses = [(diagnose(options.fathom, folder, name, files), charts, maps)
                     for name, files, charts, maps in DIAGNOSES]
        runs = [(twins, 5, 2), (mixed, 4, 1), (crowd, 5, 8), (bare, 1, 0)]
        probed = check_probe(checks, options.fathom, folder)
        browser = Browser(program)
        try:
            for view in VIEWS:
                # The longer pages of diagnoses in two of the views, which differ in size and theme alike.
                for page, charts, maps in runs + (diagnoses if view[3] == view[4] else []):
                    text = check_view(checks, browser, page, view, charts, maps)
                    if page is mixed:
                        checks.expect("<script>alert(1)<!--&amp;" in text, "the odd name does not stand as it is")
                        checks.expect("the seeds differ (42 and 7)" in text, "no reason why the runs are not paired")
                    if page.stem == "gaps":
                        checks.expect("<b>gaps<i>" in text, "the odd name of a model does not stand as it is")
                        checks.expect("needs 2304 tokens to fit" in text, "no reason why usefulness is missing")
                    if options.screenshots:
                        options.screenshots.mkdir(parents=True, exist_ok=True)
                        browser.screenshot(options.screenshots / f"{page.stem}-{view[0]}.png")
            browser.show(probed, 1280, 900, False)
            check_events(checks, "probe", browser.events)
            checks.expect(int(browser.evaluate("document.documentElement.dataset.charts")) >= 12, "few charts of a probe")
            check_touch(checks, browser, twins)
            check_diagnosis(checks, browser, folder / "overlay.html")
            check_paper(checks, browser, folder / "full.html", (options.screenshots or folder) / "full.pdf")
            check_the_check(checks, browser, twins, folder)
        finally:
            browser.close()
    print("OK" if checks.failed == 0 else f"{checks.failed} checks failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
