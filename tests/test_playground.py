"`era serve playground`: every route, every bad input, many clients at once, and the page in a real browser."
import io, json, os, re, shutil, socket, subprocess, sys, threading, time, urllib.error, urllib.request
from pathlib import Path
import pytest, torch
from browser import EIGHT, SEVEN, browser, draw, open_page, playwright # noqa: F401 (fixtures)
from era_nbdev.core.data import DataError, load
from era_nbdev.core.run import Run, RunError, launch, settings
from era_nbdev.foundations.load import load_test, playground_process
from era_nbdev.foundations.playground import playground, serve_playground
from era_nbdev.foundations.web import make_server

STROKES = [[[.3, .2], [.7, .2], [.5, .8]]]

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp('playground')/'runs'
    made = {n: launch(settings(n), out=str(out), device='cpu').dir for n in ('mnist', 'neurons')}
    return out, {n: f'{n}/{d.name}' for n, d in made.items()}

@pytest.fixture
def client(runs): return playground(runs[0]).test_client()

@pytest.fixture(scope='module')
def url(runs):
    server = make_server(playground(runs[0]), port=0, threads=24)
    threading.Thread(target=server.run, daemon=True).start()
    yield f'http://127.0.0.1:{server.effective_port}'
    server.task_dispatcher.shutdown(); server.close()

@pytest.fixture
def copied(runs, tmp_path): # a folder of its own, to damage
    shutil.copytree(runs[0], tmp_path/'runs')
    return tmp_path/'runs', runs[1]['mnist']

def refused(r, status, *words):
    assert r.status_code == status, (r.status_code, r.data[:200])
    assert r.is_json and list(r.json) == ['error'] and '\n' not in r.json['error'], r.data[:200]
    for w in words: assert w in r.json['error'], r.json['error']
    assert r.headers['X-Content-Type-Options'] == 'nosniff'

# ---- what works

def test_listing(client, runs):
    r = client.get('/api/runs').json
    assert {o['name'] for o in r['runs']} == set(runs[1].values()) and r['damaged'] == [] and r['chosen'] == ''
    for o in r['runs']:
        assert o['state'] == 'finished' and o['metrics']['accuracy'] > .9 and o['checkpoint']
        assert client.get(f"/api/runs/{o['name']}").json['takes']['size'] == 8
    assert all(o['takes']['size'] == 8 for o in client.get('/api/runs').json['runs'])
    assert client.get('/health').json == dict(status='ok', runs=2)

@pytest.mark.parametrize('name', ['mnist', 'neurons'])
def test_explain(client, runs, name):
    r = client.post(f'/api/runs/{runs[1][name]}/explain', json=dict(strokes=STROKES)).json
    assert abs(sum(r['probabilities'].values())-1) < 1e-4 and r['label'] in r['probabilities'] and r['milliseconds'] > 0
    assert len(r['image']) == len(r['saliency']) == 8 and max(map(max, r['saliency'])) == 255 and [h['name'] for h in r['hidden']] == ['layer 1', 'layer 2']

def test_metrics_go_on_where_they_ended(client, runs):
    path = f'/api/runs/{runs[1]["mnist"]}/metrics'
    a = client.get(path).json; b = client.get(f'{path}?since={a["next"]}').json
    assert a['rows'][0]['step'] == 1 and b['rows'] == [] and b['next'] == a['next'] and not b['reset']
    assert client.get(f'{path}?since=999999999').json['reset'] and client.get(f'/api/runs/{runs[1]["mnist"]}').json['settings']['data'] == 'digits'

def test_without_runs(tmp_path):
    c = playground(tmp_path/'nothing').test_client()
    assert c.get('/').status_code == 200 and c.get('/api/runs').json == dict(runs=[], damaged=[], chosen='')
    refused(c.post('/api/runs/mnist/x/explain', json={}), 404, 'no run')

# ---- what is refused

@pytest.mark.parametrize('name', ['../secret', '..%2fsecret', '%2e%2e/secret', '..%5csecret', '/etc/passwd', '%2fetc%2fpasswd', 'mnist/..', 'mnist/../../x', 'mnist/link', 'mnist/%00', 'x', '%', 'mnist/' + 'a'*5000])
def test_traversal(copied, name):
    out, _ = copied
    (out.parent/'secret').mkdir(); (out.parent/'secret/config.json').write_text('{}'); (out/'mnist/link').symlink_to(out.parent/'secret')
    c = playground(out).test_client()
    for path in ('', '/metrics', '/explain'):
        r = c.post(f'/api/runs/{name}{path}', json=dict(strokes=STROKES)) if path == '/explain' else c.get(f'/api/runs/{name}{path}')
        assert r.status_code in (404, 405, 308) and b'secret/config' not in r.data, (r.status_code, r.data)
    assert 'mnist/link' not in [o['name'] for o in c.get('/api/runs').json['runs']]

BODIES = [({}, 422), ([], 422), (dict(strokes=[]), 422), (dict(strokes='x'), 422), (dict(strokes=[[]]), 422), (dict(strokes=[[[0]]]), 422), (dict(strokes=[[[0, float('nan')]]]), 422),
          (dict(strokes=[[[0, float('inf')]]]), 422), (dict(strokes=[[[0, -1]]]), 422), (dict(strokes=[[['0', 1]]]), 422), (dict(strokes=[[[True, 1]]]), 422), (dict(strokes=[[[0, 1, 2]]]), 422),
          (dict(strokes=[[[.5, .5]]]*201), 413), (dict(strokes=[[[.5, .5]]*5001]), 413), (dict(strokes=[[[.1, .1]]*2501]*2), 413), (dict(strokes=[[[.5, .5]]*50_000]), 413)]

@pytest.mark.parametrize('body,status', BODIES, ids=range(len(BODIES)))
def test_bad_strokes(client, runs, body, status): refused(client.post(f'/api/runs/{runs[1]["mnist"]}/explain', data=json.dumps(body), content_type='application/json'), status)

@pytest.mark.parametrize('data,kind,status', [(b'', 'application/json', 400), (b'{', 'application/json', 400), (b'['*100_000, 'application/json', 400), (b'1'*200_000, 'application/json', 413), (b'hello', 'image/png', 415), (b'x', 'text/plain', 415), (b'x', '', 415),
                                              (b'0'*(5*2**20), 'application/json', 413), (b'\xff\xfe', 'application/json', 400)])
def test_bad_bodies(client, runs, data, kind, status): refused(client.post(f'/api/runs/{runs[1]["mnist"]}/explain', data=data, content_type=kind), status)

@pytest.mark.parametrize('query', ['', '?run=mnist/none', '?run=a&since=x', '?since=3', '?run=a&since=1&since=2'])
def test_bad_event_streams(client, query): assert client.get('/api/events'+query).status_code in (404, 422)

def test_methods(client, runs):
    refused(client.get(f'/api/runs/{runs[1]["mnist"]}/explain'), 404); refused(client.delete('/api/runs'), 405); refused(client.get('/nothing'), 404)
    for since in ('-1', 'x', '1e3', '', '9'*30, '\u0663'): refused(client.get(f'/api/runs/{runs[1]["mnist"]}/metrics?since={since}'), 422, 'since')

def test_unknown_run_names_the_nearest(client, runs): refused(client.get(f'/api/runs/{runs[1]["mnist"][:-1]}/metrics'), 404, 'did you mean', runs[1]['mnist'])

def test_deleted_and_damaged(copied):
    out, name = copied; c = playground(out).test_client(); path = f'/api/runs/{name}'
    assert c.post(f'{path}/explain', json=dict(strokes=STROKES)).status_code == 200
    (out/name/'checkpoint.safetensors').write_bytes(b'broken'); refused(c.post(f'{path}/explain', json=dict(strokes=STROKES)), 409, 'damaged')
    (out/name/'checkpoint.safetensors').unlink(); refused(c.post(f'{path}/explain', json=dict(strokes=STROKES)), 409, 'no checkpoint')
    with open(out/name/'metrics.jsonl', 'a') as f: f.write('{"step": 7, "lo')
    a = c.get(f'{path}/metrics').json; assert all('loss' in o or 'epoch' in o for o in a['rows'])
    with open(out/name/'metrics.jsonl', 'a') as f: f.write('ss": NaN}\nrubbish\n"text"\n[]\n{}\n')
    assert c.get(f'{path}/metrics?since={a["next"]}').get_json() == dict(rows=[dict(step=7, loss=None)], next=a['next']+len('{"step": 7, "loss": NaN}\nrubbish\n"text"\n[]\n{}\n'), reset=False)
    (out/name/'config.json').write_text('{"experi'); refused(c.get(path), 409, 'damaged'); assert c.get('/api/runs').json['damaged'] == [name]
    shutil.rmtree(out/name); refused(c.get(f'{path}/metrics'), 410, 'deleted')
    time.sleep(1.1); refused(c.get(f'{path}/metrics'), 404); assert name not in str(c.get('/api/runs').json)

def test_streams(copied):
    out, name = copied; (out/name/'summary.json').unlink()
    app = playground(out, streams=2); c = app.test_client()
    a, b = (c.get(f'/api/events?run={name}', buffered=False) for _ in range(2))
    it = iter(a.response); assert next(it) == b': hello\n\n' and next(it).startswith(b'event: rows\nid: ')
    refused(c.get(f'/api/events?run={name}'), 503, 'too many streams')
    b.close(); size = (out/name/'metrics.jsonl').stat().st_size
    d = c.get(f'/api/events?run={name}', headers={'Last-Event-ID': str(size)}, buffered=False); it2 = iter(d.response); next(it2)
    with open(out/name/'metrics.jsonl', 'a') as f: f.write('{"step": 99, "loss": 1.5}\n')
    assert b'"step": 99' in next(it2) and b'"step": 99' in next(it)
    shutil.rmtree(out/name); assert b'deleted' in next(o for o in it2 if o.startswith(b'event: end'))
    a.close(); d.close()

def test_serve_refuses(tmp_path, runs):
    from era_nbdev.core.cli import main
    assert main(['serve', 'playground', '--run', str(tmp_path), '--out', str(runs[0])]) == 2 and main(['serve', 'playground', '--run', 'mnits', '--out', str(runs[0])]) == 2

@pytest.mark.parametrize('name', ['neurons', 'evaluation'])
def test_a_run_answers_when_its_data_set_is_gone(runs, monkeypatch, name):
    settings_ = dict(epochs=1) | (dict(hidden=(8,), resamples=100) if name == 'evaluation' else {})
    run = launch(settings(name, **settings_), out=str(runs[0].parent/'gone'), device='cpu')
    x = load('digits').x_test[:3]; before = run.predict(x)
    def gone(*args, **kw): raise DataError('the data set is not on this machine')
    monkeypatch.setattr('era_nbdev.core.data.load', gone); monkeypatch.setattr(f'era_nbdev.foundations.{dict(neurons="digits").get(name, name)}.load', gone)
    again = Run(run.dir)
    assert again.predict(x).equal(before) and again.experiment().takes()['size'] == 8
    if name == 'neurons': assert again.explain(x[:1])['saliency'].shape == (8, 8)

def test_what_a_run_wrote_down_counts(tmp_path):
    make_runs(tmp_path/'runs', 2); a, b = sorted((tmp_path/'runs'/'mnist').iterdir())
    (a/'images.json').write_text(json.dumps(dict(data='mine', kind='image', size=5, channels=1, classes=['x', 'y'])))
    (b/'images.json').write_text('[3]') # damaged: the settings say enough
    c = playground(tmp_path/'runs').test_client()
    assert c.get(f'/api/runs/mnist/{a.name}').json['takes']['size'] == 5
    assert c.get(f'/api/runs/mnist/{b.name}').json['takes']['size'] == 28

# ---- many runs, many connections, foreign pages

def make_runs(out, n, data='mnist'): # folders as `era run mnist` leaves them; the data set is not needed
    settings_ = dict(data=data, hidden=[64], epochs=1, bs=64, lr=.1)
    for i in range(n):
        d = out/'mnist'/f'20260101-{i:06}-abcd'
        d.mkdir(parents=True)
        (d/'config.json').write_text(json.dumps(dict(experiment='mnist', scale='smoke', seed=i, device='cpu', settings=settings_)))
        (d/'summary.json').write_text(json.dumps(dict(accuracy=.9, loss=i)))
        (d/'checkpoint.safetensors').write_bytes(b'x')

@pytest.fixture
def opened(monkeypatch): # files opened since the last `clear`; counted, since seconds depend on the machine
    files, plain = [], io.open
    def counted(file, *args, **kw):
        files.append(str(file))
        return plain(file, *args, **kw)
    monkeypatch.setattr('io.open', counted)
    monkeypatch.setattr('builtins.open', counted)
    return files

def test_a_thousand_runs_are_read_once(tmp_path, monkeypatch, opened):
    monkeypatch.setenv('ERA_DATA', str(tmp_path/'none')); monkeypatch.setenv('ERA_CACHE', str(tmp_path/'cache'))
    out = tmp_path/'runs'; make_runs(out, 1000)
    damaged = ['', '{"experi', '[]', '{"experiment": 1}', '['*50_000, '\xff']
    for i, text in enumerate(damaged): (out/'mnist'/f'20260101-{i:06}-abcd'/'config.json').write_text(text, encoding='latin-1')
    for i, text in enumerate(('', '[1]', '{"acc', '['*50_000)): (out/'mnist'/f'20260101-{i+10:06}-abcd'/'summary.json').write_text(text)
    c = playground(out).test_client()
    def reads(): return [name for name in opened if name.startswith(str(out))]
    opened.clear(); r = c.get('/api/runs').json
    assert len(r['runs']) == 990 and len(r['damaged']) == 10
    assert r['runs'][0]['metrics'] == dict(accuracy=.9, loss=999) and r['runs'][0]['takes'] is None
    assert 1_000 < len(reads()) <= 2_000 # config.json and summary.json, each once; no checkpoint, no history
    opened.clear(); c.get('/api/runs')
    assert reads() == [] # nothing has changed
    (out/'mnist'/'20260101-000000-abcd'/'config.json').write_text((out/'mnist'/'20260101-000999-abcd'/'config.json').read_text())
    opened.clear()
    assert len(c.get('/api/runs').json['damaged']) == 9
    assert {Path(name).parent.name for name in reads()} == {'20260101-000000-abcd'} # only the changed run is read again

def health(url, timeout=20): # raises if the server does not answer in time
    with urllib.request.urlopen(f'{url}/health', timeout=timeout) as r: assert r.status == 200

def half_open(url, n): # connections that never finish their request
    at = url.removeprefix('http://').split(':'); found = []
    for _ in range(n):
        s = socket.create_connection((at[0], int(at[1])), timeout=5)
        s.sendall(b'POST /api/runs/x/explain HTTP/1.1\r\nHost: localhost\r\nContent-Le'); found.append(s)
    return found

def test_half_open_connections_do_not_stop_the_server(tmp_path):
    with playground_process(tmp_path) as url:
        health(url); held = half_open(url, 700)
        try: health(url)
        finally:
            for s in held: s.close()

def test_more_half_open_connections_than_there_is_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr('era_nbdev.foundations.web.connection_limit', lambda: 40)
    server = make_server(playground(tmp_path), port=0)
    threading.Thread(target=server.run, daemon=True).start()
    url = f'http://127.0.0.1:{server.effective_port}'; held = half_open(url, 120)
    try:
        health(url); time.sleep(1)
        health(url) # the oldest were closed
    finally:
        for s in held: s.close()
        server.task_dispatcher.shutdown(); server.close()

def ask(url, path='/api/runs', **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url+path, headers=headers)) as r: return r.status
    except urllib.error.HTTPError as e: assert 'error' in json.load(e); return e.code

def test_foreign_pages_are_refused(url):
    port = url.rpartition(':')[2]
    for host in ('localhost', '127.0.0.1', '[::1]', f'localhost:{port}', f'127.0.0.1:{port}', f'[::1]:{port}', 'LOCALHOST'): assert ask(url, Host=host) == 200, host
    for host in ('evil.example', f'evil.example:{port}', f'127.0.0.1.evil.example:{port}', 'localhost.evil.example', 'evil.example@localhost', '0.0.0.0', '127.0.0.1:x'):
        for path in ('/', '/health', '/api/runs', '/static/playground.js'): assert ask(url, path, Host=host) == 403, (host, path)
    assert ask(url, Origin='http://evil.example') == ask(url, Origin='null') == 403
    assert ask(url, Origin=url) == 200

@pytest.mark.parametrize('host,shown', [('127.0.0.1', 'http://127.0.0.1:'), ('::1', 'http://[::1]:'), ('localhost', 'http://localhost:')])
def test_the_printed_address_can_be_opened(tmp_path, host, shown):
    code = f"from era_nbdev.foundations.playground import serve_playground; serve_playground(host={host!r}, port=0, out={str(tmp_path)!r})"
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = p.stdout.readline()
        if host == '::1' and not line: pytest.skip('no IPv6 here')
        assert shown in line, (line, p.stderr.read() if not line else '')
        health(re.search(r'http://\S+', line)[0])
    finally: p.kill(); p.wait(); p.stdout.close(); p.stderr.close()

@pytest.mark.parametrize('host,option', [('192.0.2.1', '--host'), ('no.such.host.invalid', '--host')])
def test_a_wrong_address_names_the_right_option(tmp_path, host, option):
    with pytest.raises(RunError, match=option): make_server(playground(tmp_path), host, 0)

# ---- under load

def test_load(runs):
    with playground_process(runs[0]) as url:
        load_test(url, runs[1]['mnist'], 1, 20, 0., 0., 0.) # the first question loads torch and the model
        found = load_test(url, runs[1]['mnist'], clients=50, requests=1000, malformed=.2)
        assert (found['requests'], found['errors'], found['wrong']) == (1000, 0, 0), found
        assert urllib.request.urlopen(f'{url}/health').status == 200
    print({k: v[0] if isinstance(v, tuple) else v for k, v in found.items()})

# ---- in the browser

def settled(page):
    playwright.expect(page.locator('#answer')).to_have_attribute('aria-busy', 'false', timeout=60_000)
    playwright.expect(page.locator('#status')).to_contain_text(re.compile('^The model says'), timeout=60_000)
    return page.locator('#status').inner_text()

def box(page, name): return page.locator(f'#list input[value="{name}"]')
def choose(page, name): page.locator('#model').select_option(name)
def colours(page, what): return page.evaluate(f"(() => {{ const c = document.querySelector('{what}'); return new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size }})()")

@pytest.mark.parametrize('strokes,label', [(SEVEN, '7'), (EIGHT, '8')])
def test_draw(open_page, runs, tmp_path, strokes, label):
    page = open_page(viewport=dict(width=1200, height=1600)); choose(page, runs[1]['mnist']); draw(page, strokes)
    assert f'The model says {label},' in settled(page)
    assert page.locator('#bars li.top').get_attribute('data-label') == label and page.locator('#layers canvas').count() == 2
    assert colours(page, '#preview') > 3 and colours(page, '#saliency') > 5 and colours(page, '#layers canvas') > 5
    page.screenshot(path=tmp_path/f'{label}.png', full_page=True)

def test_bars_move_and_clear(open_page, runs):
    page = open_page(); choose(page, runs[1]['neurons']); box = page.locator('#canvas').bounding_box()
    page.mouse.move(box['x']+60, box['y']+60); page.mouse.down(); page.mouse.move(box['x']+200, box['y']+60, steps=5); settled(page)
    before = page.locator('#bars').inner_text()
    page.mouse.move(box['x']+120, box['y']+260, steps=8); settled(page); assert page.locator('#bars').inner_text() != before; page.mouse.up()
    page.get_by_role('button', name='Clear').click(); page.wait_for_timeout(300)
    assert page.locator('#status').inner_text() == 'Nothing is drawn yet.' and page.locator('#layers canvas').count() == 0

def test_keyboard(open_page, runs):
    page = open_page(); page.keyboard.press('Tab'); assert page.evaluate('document.activeElement.id') == 'canvas'
    for _ in range(15): page.keyboard.press('ArrowUp')
    page.keyboard.press('Space')
    for _ in range(35): page.keyboard.press('ArrowDown')
    page.keyboard.press('Space'); assert settled(page)
    for want in ('clear', 'model'): page.keyboard.press('Tab'); assert page.evaluate('document.activeElement.id') == want
    page.keyboard.press('Tab'); page.keyboard.press('Space')
    assert page.evaluate('document.activeElement.type') == 'checkbox'

def test_compare_two_runs(open_page, runs, tmp_path):
    page = open_page()
    for name in runs[1].values(): box(page, name).check()
    lines = page.locator('#chart polyline'); playwright.expect(lines).to_have_count(2)
    assert {lines.nth(i).get_attribute('data-run') for i in (0, 1)} == set(runs[1].values())
    assert len({lines.nth(i).get_attribute('stroke-dasharray') for i in (0, 1)}) == 2
    table = page.locator('#compare').inner_text(); assert 'accuracy' in table and 'epochs' in table and all(n in table for n in runs[1].values())
    assert 'lowest' in page.locator('#summary').inner_text()
    page.locator('#metric').select_option('accuracy'); playwright.expect(page.locator('#summary')).to_contain_text('accuracy')
    page.locator('.runs').screenshot(path=tmp_path/'compare.png')

def test_a_curve_grows_while_a_run_trains(open_page, runs, tmp_path):
    page, before = open_page(), set(os.listdir(runs[0]/'mnist'))
    p = subprocess.Popen([sys.executable, '-m', 'era_nbdev.core.cli', 'run', 'mnist', '--out', str(runs[0]), '--device', 'cpu', '--epochs', '150'], stdout=subprocess.DEVNULL, env=os.environ | {'OMP_NUM_THREADS': '1'})
    try:
        for _ in range(1200): # a busy machine takes long to start
            new = set(os.listdir(runs[0]/'mnist'))-before
            if new: break
            time.sleep(.1)
        name = f'mnist/{new.pop()}'
        box(page, name).check(timeout=60_000)
        line = page.locator(f'#chart polyline[data-run="{name}"]'); line.wait_for(timeout=60_000)
        playwright.expect(page.locator('#live')).to_contain_text(f'{name} is training', timeout=60_000)
        counts = []
        for _ in range(60):
            counts.append(int(line.get_attribute('data-points')))
            if len(set(counts)) > 3: break
            page.wait_for_timeout(250)
        assert len(set(counts)) > 3 and counts == sorted(counts), counts
        page.locator('.runs').screenshot(path=tmp_path/'live.png')
        playwright.expect(page.locator('#live')).to_contain_text('finished', timeout=240_000)
        assert p.wait(120) == 0
        playwright.expect(box(page, name)).to_be_visible()
        assert page.locator('#list li', has_text=name).locator('.state').inner_text() == 'finished'
    finally: p.kill(); p.wait(); shutil.rmtree(runs[0]/name)

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [360, 1200])
def test_look(open_page, runs, tmp_path, scheme, width):
    page = open_page(viewport=dict(width=width, height=800), color_scheme=scheme)
    draw(page, EIGHT); settled(page)
    for name in runs[1].values(): box(page, name).check()
    page.locator('#chart polyline').nth(1).wait_for(); page.wait_for_timeout(250)
    page.screenshot(path=tmp_path/f'{scheme}_{width}.png', full_page=True)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    def light(what, of): return page.evaluate(f"getComputedStyle(document.querySelector('{what}')).{of}.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)/3")
    assert (light('body', 'backgroundColor') > 128) == (scheme == 'light')
    for what in ('#status', '#help', '#bars .value', '#summary', 'legend', '#list label', '#compare th'): assert abs(light(what, 'color')-light('section', 'backgroundColor')) > 90, what

def test_names_for_screen_readers(open_page, runs):
    page = open_page(); draw(page, SEVEN); settled(page)
    assert page.locator('html').get_attribute('lang') == 'en' and page.locator('main').count() == 1 and page.locator('h1').count() == 1
    for label in ('Drawing area', 'Model', 'Curve', 'logarithmic'): assert page.get_by_label(label, exact=True).count() == 1, label
    assert 'units active' in page.locator('#layers canvas').first.get_attribute('aria-label') and 'pixels matter' in page.locator('#saliency').get_attribute('aria-label')
    unnamed = page.evaluate("[...document.querySelectorAll('button, select, input, [tabindex]')].filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).map(e => e.outerHTML)")
    assert unnamed == []

def test_no_runs_page(browser, tmp_path):
    server = make_server(playground(tmp_path), port=0); threading.Thread(target=server.run, daemon=True).start()
    page = browser.new_page(); page.goto(f'http://127.0.0.1:{server.effective_port}'); page.wait_for_selector('body[data-ready]')
    assert 'era run mnist' in page.locator('#none').inner_text(); draw(page, SEVEN)
    playwright.expect(page.locator('#status')).to_contain_text('No trained model here yet')
    page.close(); server.task_dispatcher.shutdown(); server.close()
