"What the browser tests share: Chromium, two drawings, a page that may log nothing and ask no other host."
import shutil, urllib.parse
import pytest

CHROMIUM = next((p for p in map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')) if p), None)
if CHROMIUM is None: pytest.skip('no browser: install chromium (Debian: apt-get install chromium)', allow_module_level=True)
playwright = pytest.importorskip('playwright.sync_api', reason="no playwright: pip install 'era_nbdev[dev]'")

ARGS = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--disable-sync',
        '--no-first-run', '--no-default-browser-check', '--disable-extensions', '--disable-features=Translate,MediaRouter,OptimizationHints']
SEVEN = [[(.28, .2), (.74, .2), (.62, .42), (.5, .65), (.42, .86)]]
EIGHT = [[(.66, .28), (.58, .17), (.44, .16), (.34, .25), (.37, .38), (.5, .48), (.64, .59), (.68, .73), (.6, .85), (.45, .87), (.33, .78), (.34, .64),
          (.45, .53), (.58, .43), (.66, .28)]]

@pytest.fixture(scope='module')
def browser():
    with playwright.sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield b
        b.close()

@pytest.fixture
def open_page(browser, url):
    "A function that opens the page; at the end nothing may have been logged, and no other host asked."
    contexts, bad = [], []
    def go(**options):
        context = browser.new_context(**{'viewport': dict(width=1200, height=800), **options}); contexts.append(context)
        page = context.new_page()
        page.on('console', lambda m: bad.append(m.text) if m.type in ('error', 'warning') and not page.expect_errors else None)
        page.on('pageerror', lambda e: bad.append(str(e)))
        page.on('request', lambda r: bad.append(r.url) if urllib.parse.urlsplit(r.url).netloc not in ('', urllib.parse.urlsplit(url).netloc) else None)
        page.expect_errors = False
        page.goto(url); page.wait_for_selector('body[data-ready]')
        return page
    yield go
    for c in contexts: c.close()
    assert not bad, bad

def draw(page, strokes):
    box = page.locator('#canvas').bounding_box()
    for stroke in strokes:
        at = [(box['x']+x*box['width'], box['y']+y*box['height']) for x, y in stroke]
        page.mouse.move(*at[0]); page.mouse.down()
        for x, y in at[1:]: page.mouse.move(x, y, steps=6)
        page.mouse.up()
