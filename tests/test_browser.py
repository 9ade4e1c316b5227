"The page of `era serve mnist` in a real browser: draw with mouse, touch and keyboard, upload, look at it in both themes and on a narrow screen."
import io, re, threading
import numpy as np, pytest
from PIL import Image

from browser import EIGHT, SEVEN, browser, draw, open_page, playwright

@pytest.fixture(scope='module')
def url(tmp_path_factory):
    from era_nbdev.core.run import launch, settings
    from era_nbdev.foundations.drawings import app_for_run
    from era_nbdev.foundations.web import make_server
    run = launch(settings('mnist'), out=str(tmp_path_factory.mktemp('runs')), device='cpu')
    server = make_server(app_for_run(run), port=0)
    threading.Thread(target=server.run, daemon=True).start()
    yield f'http://127.0.0.1:{server.effective_port}'
    server.task_dispatcher.shutdown(); server.close()

def settled(page): # what the status line says once the model has answered about the finished drawing
    playwright.expect(page.locator('#answer')).to_have_attribute('aria-busy', 'false', timeout=60_000)
    status(page, re.compile('^The model says'))
    return page.locator('#status').inner_text()

def status(page, text): playwright.expect(page.locator('#status')).to_contain_text(text, timeout=60_000) # wait_for_function needs eval, which the page forbids

def read(page): # label -> percent
    return {li.get_attribute('data-label'): float(li.locator('.value').inner_text().split()[0]) for li in page.locator('#bars li').all()}

def seen(page): # the preview's pixels
    return np.array(page.evaluate("(() => { const c = document.getElementById('preview'); return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] })()"))

@pytest.mark.parametrize('strokes,label', [(SEVEN, '7'), (EIGHT, '8')])
def test_mouse(open_page, tmp_path, strokes, label):
    page = open_page(); draw(page, strokes)
    assert f'The model says {label},' in settled(page)
    p = read(page); page.screenshot(path=tmp_path/f'{label}.png')
    assert len(p) == 10 and max(p, key=p.get) == label and abs(sum(p.values())-100) < 1, p
    assert page.locator('#bars li.top').get_attribute('data-label') == label
    assert seen(page).reshape(-1, 4)[:, 0].max() == 255

def test_bars_move_while_drawing(open_page):
    page = open_page(); box = page.locator('#canvas').bounding_box()
    page.mouse.move(box['x']+60, box['y']+60); page.mouse.down(); page.mouse.move(box['x']+200, box['y']+60, steps=5)
    settled(page); before = read(page), seen(page)
    page.mouse.move(box['x']+120, box['y']+260, steps=8); settled(page)
    assert (seen(page) != before[1]).any() and read(page) != before[0], before[0]
    page.mouse.up()

def test_clear(open_page):
    page = open_page(); draw(page, SEVEN); settled(page)
    page.get_by_role('button', name='Clear').click(); page.wait_for_timeout(400)
    assert page.locator('#status').inner_text() == 'Nothing is drawn yet.'
    assert not any(v.inner_text() for v in page.locator('#bars .value').all()) and seen(page).max() == 0

def test_touch(open_page):
    page = open_page(viewport=dict(width=360, height=740), has_touch=True, is_mobile=True)
    box = page.locator('#canvas').bounding_box(); cdp = page.context.new_cdp_session(page)
    at = [dict(x=box['x']+x*box['width'], y=box['y']+y*box['height']) for x, y in SEVEN[0]]
    cdp.send('Input.dispatchTouchEvent', dict(type='touchStart', touchPoints=at[:1]))
    for p in at[1:]: cdp.send('Input.dispatchTouchEvent', dict(type='touchMove', touchPoints=[p]))
    cdp.send('Input.dispatchTouchEvent', dict(type='touchEnd', touchPoints=[]))
    assert 'The model says 7,' in settled(page) and page.evaluate('scrollY') == 0

def test_keyboard(open_page, tmp_path):
    page = open_page(); page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.id') == 'canvas'
    for _ in range(18): page.keyboard.press('ArrowUp')
    page.keyboard.press('Space')
    for _ in range(40): page.keyboard.press('ArrowDown')
    page.screenshot(path=tmp_path/'keyboard.png')
    page.keyboard.press('Space')
    assert settled(page) and abs(sum(read(page).values())-100) < 1
    rows = seen(page).reshape(-1, 4)[:, 0].reshape(*[int(page.locator('#preview').get_attribute('width'))]*2)
    assert (rows.sum(1) > 0).mean() > .6 and (rows.sum(0) > 0).mean() < .5 # a standing bar, and no mark of the pen
    page.keyboard.press('Delete')
    assert page.locator('#status').inner_text() == 'Nothing is drawn yet.'
    page.keyboard.press('Tab'); assert page.evaluate('document.activeElement.id') == 'clear'
    page.keyboard.press('Tab'); assert page.evaluate('document.activeElement.id') == 'file'

def picture(kind): # the seven as a file: 400 × 300, off the middle
    from PIL import ImageDraw
    im = Image.new('L', (400, 300), 255); at = [(120+x*200, 30+y*200) for x, y in SEVEN[0]]
    ImageDraw.Draw(im).line(at, 0, 26, joint='curve')
    buf = io.BytesIO(); im.save(buf, kind); return buf.getvalue()

@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_upload(open_page, tmp_path, kind):
    page = open_page()
    page.set_input_files('#file', dict(name=f'seven.{kind}', mimeType=f'image/{kind}', buffer=picture(kind)))
    assert 'The model says 7,' in settled(page)
    page.screenshot(path=tmp_path/f'upload_{kind}.png')

def test_upload_of_something_else(open_page):
    page = open_page(); page.expect_errors = True # the browser itself logs the status 415
    page.set_input_files('#file', dict(name='notes.txt', mimeType='text/plain', buffer=b'not a picture'))
    status(page, 'No answer: content type'); assert page.locator('#status.error').count()
    page.set_input_files('#file', dict(name='x.png', mimeType='image/png', buffer=b'not a picture'))
    status(page, 'not a PNG or JPEG')
    draw(page, SEVEN); assert 'The model says 7,' in settled(page)
    assert not page.locator('#status.error').count()

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [360, 768, 1200])
def test_look(open_page, tmp_path, scheme, width):
    page = open_page(viewport=dict(width=width, height=800), color_scheme=scheme)
    draw(page, EIGHT); settled(page); page.wait_for_timeout(250)
    page.screenshot(path=tmp_path/f'{scheme}_{width}.png', full_page=True)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    def light(what, of): return page.evaluate(f"getComputedStyle(document.querySelector('{what}')).{of}.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)/3")
    assert (light('body', 'backgroundColor') > 128) == (scheme == 'light')
    for what in ('#status', '#help', '#bars .value', '.button'): assert abs(light(what, 'color')-light('section', 'backgroundColor')) > 90, what

def test_names_for_screen_readers(open_page):
    page = open_page()
    assert page.locator('html').get_attribute('lang') == 'en' and page.title()
    assert page.locator('#status').get_attribute('aria-live') == 'polite'
    assert page.get_by_label('Upload a picture').count() == page.get_by_label('Drawing area').count() == 1
    assert page.get_by_role('list', name='Probability of each class').get_by_role('listitem').count() == 10
    assert page.get_by_role('img', name='The picture as the model sees it').count() == 1
