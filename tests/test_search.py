"`era serve search`: the JSON API, the command, and the page in Chromium: sentence, photograph, keyboard, telephone, light and dark."
import io, json, os, re, subprocess, sys, threading, urllib.request
import pytest
from PIL import Image
from browser import browser, open_page, playwright # noqa: F401 (fixtures)
from era_nbdev.core.run import RunError
from era_nbdev.foundations.web import make_server
from era_nbdev.multimodal.neighbours import COLOURS, ColourTowers, write_scenes
from era_nbdev.multimodal.search import index_folder, search_app, serve_search

EVIL = '<img src=x onerror=alert(1)> a brown field'

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp('search')/'photos'
    write_scenes(place)
    for name, colour in (('red', 'red'), ('<b>brown<-b>', 'brown')):
        Image.new('RGB', (60, 40), COLOURS[colour]).save(place/f'{name}.png')
    (place/'<b>brown<-b>.txt').write_text(EVIL)
    (place/'holes.jpg').write_bytes(b'\xff\xd8\xff and nothing else')
    return place

@pytest.fixture(scope='module')
def album(folder): return index_folder(folder, ColourTowers())

@pytest.fixture(scope='module')
def url(album):
    server = make_server(search_app(ColourTowers(), album, 'eight colours'), port=0)
    threading.Thread(target=server.run, daemon=True).start()
    yield f'http://127.0.0.1:{server.effective_port}'
    server.task_dispatcher.shutdown()
    server.close()

@pytest.fixture
def client(album): return search_app(ColourTowers(), album).test_client()

def png(colour, size=(50, 40)):
    buffer = io.BytesIO()
    Image.new('RGB', size, COLOURS[colour]).save(buffer, 'PNG')
    return buffer.getvalue()

# ---- the API

def test_a_sentence(client):
    r = client.get('/api/search?text=red&k=5')
    assert r.status_code == 200 and set(r.json) == {'photos', 'captions', 'gone', 'milliseconds'}
    assert len(r.json['photos']) == 5 and r.json['photos'][0]['name'] == 'red.png' and r.json['photos'][0]['score'] == 1
    scores = [o['score'] for o in r.json['photos']]
    assert scores == sorted(scores, reverse=True) and r.json['captions'] == [] and r.json['gone'] == 0

@pytest.mark.parametrize('way', ['body', 'form'])
def test_a_photograph(client, way):
    data = dict(file=(io.BytesIO(png('brown')), 'x.png')) if way == 'form' else png('brown')
    kind = 'multipart/form-data' if way == 'form' else 'image/png'
    r = client.post('/api/search?k=2', data=data, content_type=kind).json
    assert r['photos'][0]['name'] == '<b>brown<-b>.png' and r['photos'][0]['caption'] == EVIL and len(r['captions']) == 5

@pytest.mark.parametrize('path,status,words', [
    ('/api/search?text=', 422, 'empty'), ('/api/search?text=%20', 422, 'empty'), ('/api/search?text='+'x'*301, 422, '301 characters'),
    ('/api/search?text=a&k=0', 422, 'k is'), ('/api/search?text=a&k=49', 422, '1 to 48'), ('/api/search?text=a&k=1e9', 422, 'k is'),
    ('/api/search', 422, '?text='), ('/api/search?photo=-1', 422, 'photo is'), ('/api/search?photo=999', 422, 'photo is'),
    ('/photo/999', 404, 'no photograph'), ('/photo/../x', 404, 'nothing at'), ('/photo/%2e%2e%2fx', 404, 'nothing at'), ('/x', 404, 'nothing at')])
def test_refused(client, path, status, words):
    r = client.get(path)
    assert r.status_code == status and list(r.json) == ['error'] and words in r.json['error'], r.data
    assert r.headers['X-Content-Type-Options'] == 'nosniff'

def bomb(side):
    buffer = io.BytesIO()
    Image.new('1', (side, side)).save(buffer, 'PNG')
    return buffer.getvalue()

BAD = [(b'', 400, 'empty'), (b'hello', 415, 'cannot be read'), (png('red')[:60], 415, 'cannot be read'), (bomb(6_000), 413, 'pixels'), (bomb(20_000), 413, 'pixels'),
       (b'x'*(4*2**20+1), 413, '4 MB'), (b'<svg/>', 415, 'cannot be read'), (b'\xff\xd8\xff', 415, 'cannot be read')]
@pytest.mark.parametrize('i', range(len(BAD)))
def test_refused_photographs(client, i):
    data, status, words = BAD[i]
    r = client.post('/api/search', data=data, content_type='image/png')
    assert r.status_code == status and words in r.json['error'], r.data[:300]
    assert '\n' not in r.json['error'] and '/tmp' not in r.json['error']

def test_thumbnails(client, album):
    for row in range(len(album.names)):
        r = client.get(f'/photo/{row}')
        assert r.mimetype == 'image/jpeg' and max(Image.open(io.BytesIO(r.data)).size) <= 320
    assert client.get('/photo/0').headers['Cache-Control'] == 'no-cache'

# ---- the command

def test_errors_of_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv('ERA_CACHE', str(tmp_path/'cache'))
    (tmp_path/'empty').mkdir()
    with pytest.raises(RunError, match='no photographs'): serve_search('colours', folder=str(tmp_path/'empty'))
    with pytest.raises(RunError, match='is no folder'): serve_search('colours', folder=str(tmp_path/'none'))
    with pytest.raises(RunError, match='--run colours'): serve_search(out=str(tmp_path/'runs'))
    with pytest.raises(RunError, match='is no folder'): serve_search(out=str(tmp_path/'runs'), folder=str(tmp_path/'none')) # before the run is looked for

def era(cache, *options):
    code = f"import era_nbdev.multimodal.search as s; s.serve_search('colours', port=0, **{dict(options)!r})"
    return subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env=os.environ | dict(ERA_CACHE=str(cache), OMP_NUM_THREADS='1'))

def start(cache, *options): # what it printed, and what the page's server says
    p, lines = era(cache, *options), []
    try:
        for line in p.stdout:
            lines.append(line)
            found = re.search(r'http://\S+', line)
            if found: break
        with urllib.request.urlopen(f'{found[0]}/health') as r: return ''.join(lines), json.load(r)
    finally:
        p.terminate()
        p.wait()
        p.stdout.close()

def test_the_command_serves_and_keeps(folder, tmp_path):
    first, about = start(tmp_path/'cache', ('folder', str(folder)))
    assert about['photos'] == 26 and about['broken'] == 1 and "'holes.jpg'" in first and 'embedding photographs: 27 of 27' in first
    again, _ = start(tmp_path/'cache', ('folder', str(folder)))
    assert 'embedding' not in again and "'holes.jpg'" in again

def test_the_command_without_a_folder(tmp_path):
    said, about = start(tmp_path/'cache')
    assert about['photos'] == 24 and '24 photographs and 24 captions' in said and about['towers'] == 'eight colours'

# ---- the page

def said(page, text): playwright.expect(page.locator('#status')).to_contain_text(text, timeout=10_000)

def search(page, text):
    page.get_by_label('Describe a photograph').fill(text)
    page.keyboard.press('Enter')
    said(page, f'photographs for “{text}”')

def names(page): return [b.get_attribute('title').removeprefix('More like ') for b in page.locator('#photos button').all()]

def test_search_by_sentence(open_page):
    page = open_page()
    assert 'Nothing has been asked yet' in page.locator('#status').inner_text() and not page.locator('#answer').is_visible()
    assert '26 photographs, 25 captions; 1 could not be read. Towers: eight colours.' in page.locator('#about').inner_text()
    search(page, 'all red')
    assert names(page)[0] == 'red.png' and len(names(page)) == 12
    page.locator('#photos img').first.wait_for()
    assert page.evaluate("[...document.images].filter(i => i.id !== 'preview').every(i => i.alt)")
    playwright.expect(page.locator('#answer')).to_have_attribute('aria-busy', 'false')
    page.get_by_role('button', name='Search').click()
    said(page, '12 photographs')

def test_the_address_keeps_the_question(open_page, url):
    page = open_page()
    search(page, 'a yellow house & a "blue" sky')
    page.reload()
    page.wait_for_selector('body[data-ready]')
    said(page, 'photographs for “a yellow house & a "blue" sky”')

def test_keyboard_only(open_page):
    page = open_page()
    assert page.evaluate('document.activeElement.id') == 'query'
    page.keyboard.type('green')
    page.keyboard.press('Enter')
    said(page, 'photographs for “green”')
    page.keyboard.press('ArrowDown')
    def at(): return page.evaluate("[...document.querySelectorAll('#photos button')].indexOf(document.activeElement)")
    columns = page.evaluate("(() => { const b = [...document.querySelectorAll('#photos button')]; return b.filter(o => o.offsetTop === b[0].offsetTop).length })()")
    assert at() == 0 and columns > 2
    for key, where in (('ArrowRight', 1), ('ArrowDown', 1+columns), ('ArrowLeft', columns), ('ArrowUp', 0), ('End', 11), ('ArrowRight', 11), ('Home', 0), ('ArrowLeft', 0)):
        page.keyboard.press(key)
        assert at() == where, key
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == 'solid'
    assert page.locator('#photos button[tabindex="0"]').count() == 1
    name = names(page)[0]
    page.keyboard.press('Enter')
    said(page, f'photographs for more like {name}')
    assert names(page)[0] == name
    playwright.expect(page.locator('#photos button').first).to_be_focused()
    page.keyboard.press('Escape')
    assert page.evaluate('document.activeElement.id') == 'query'

def test_choose_a_photograph(open_page):
    page = open_page()
    page.set_input_files('#file', dict(name='mine.png', mimeType='image/png', buffer=png('red', (1_500, 1_000))))
    said(page, 'photographs for mine.png')
    assert names(page)[0] == 'red.png' and page.locator('#captions li').count() == 5
    assert page.locator('#preview').is_visible()
    search(page, 'blue')
    assert not page.locator('#preview').is_visible() and not page.locator('#words').is_visible()

def test_drop_a_photograph(open_page):
    page = open_page()
    page.evaluate("""async bytes => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'dropped.png', {type: 'image/png'}));
        document.getElementById('ask').dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: data}));
    }""", list(png('brown')))
    said(page, 'photographs for dropped.png')
    assert names(page)[0] == '<b>brown<-b>.png'

def test_text_of_others_stays_text(open_page):
    page = open_page()
    search(page, 'brown')
    caption = page.locator('#photos .caption').first
    assert caption.inner_text() == EVIL
    assert page.locator('#photos img').first.get_attribute('alt') == EVIL
    assert page.evaluate("document.querySelectorAll('main img[src=x], #photos b').length") == 0

def test_errors_are_shown_on_the_page(open_page, folder):
    page = open_page()
    page.get_by_role('button', name='Search').click()
    said(page, 'Type a sentence first')
    page.expect_errors = True # the browser itself logs the status 415
    page.set_input_files('#file', dict(name='notes.txt', mimeType='text/plain', buffer=b'not a picture'))
    said(page, 'cannot be read as a photograph')
    assert page.locator('#status.error').count() == 1 and not page.locator('#answer').is_visible()
    page.set_input_files('#file', dict(name='big.bin', mimeType='image/png', buffer=b'x'*5_000_000))
    playwright.expect(page.locator('#status')).to_contain_text(re.compile('larger than 4 MB|does not answer'), timeout=10_000)
    search(page, 'red')
    assert page.locator('#status.error').count() == 0

def test_a_deleted_photograph_is_left_out(open_page, folder):
    (folder/'red.png').rename(folder/'hidden.tmp')
    try:
        page = open_page()
        search(page, 'red')
        said(page, '1 left out: deleted or changed')
        assert 'red.png' not in names(page) and len(names(page)) == 12
    finally: (folder/'hidden.tmp').rename(folder/'red.png')

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [375, 768, 1200])
def test_look(open_page, tmp_path, scheme, width):
    page = open_page(viewport=dict(width=width, height=800), color_scheme=scheme)
    search(page, 'a brown house under a blue sky')
    page.wait_for_load_state('networkidle')
    page.screenshot(path=tmp_path/f'{scheme}_{width}.png', full_page=True)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    def light(what, of): return page.evaluate(f"getComputedStyle(document.querySelector('{what}')).{of}.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)/3")
    assert (light('body', 'backgroundColor') > 128) == (scheme == 'light')
    for what in ('#status', '#help', '#photos .caption', '#photos .score', '.button', '#query'): assert abs(light(what, 'color')-light('section', 'backgroundColor')) > 90, what
    sizes = page.evaluate("[...document.querySelectorAll('#query, form button, .button')].map(e => e.getBoundingClientRect().height)")
    assert min(sizes) >= 43 # large enough for a finger

def test_touch(open_page):
    page = open_page(viewport=dict(width=375, height=740), has_touch=True, is_mobile=True)
    search(page, 'white')
    name = names(page)[1]
    page.locator('#photos button').nth(1).tap()
    said(page, f'photographs for more like {name}')
    assert names(page)[0] == name or name in names(page)[:3]

def test_names_for_screen_readers(open_page):
    page = open_page()
    search(page, 'grey')
    assert page.locator('html').get_attribute('lang') == 'en' and page.locator('main').count() == page.locator('h1').count() == 1
    assert page.get_by_role('search').count() == 1 and page.locator('#status').get_attribute('aria-live') == 'polite'
    for label in ('Describe a photograph', 'Choose a photograph'): assert page.get_by_label(label, exact=True).count() == 1, label
    unnamed = page.evaluate("[...document.querySelectorAll('button, input')].filter(e => !(e.labels && e.labels.length) && !e.textContent.trim()).map(e => e.outerHTML)")
    assert unnamed == []
