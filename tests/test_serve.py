"The prediction service: every route, every bad input, and many requests at once. A stand-in is asked instead of a trained model."
import io, json, resource, signal, socket, struct, subprocess, sys, threading, time, urllib.error, urllib.request, zlib
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pytest, torch
from PIL import Image
from era_nbdev.core.run import RunError
from era_nbdev.foundations.drawings import create_app
from era_nbdev.foundations.web import make_server

SIZE = 8
CLASSES = [str(i) for i in range(256)]
INF = json.loads('Infinity')

def first_pixel(x): # the class is written in the first pixel, so an answer shows to which request it belongs
    assert x.dtype == torch.uint8 and x.shape[1:] == (1, SIZE, SIZE)
    return torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 256).float()

def app(ask=first_pixel): return create_app(ask, CLASSES, SIZE, 'Stand-in', info=dict(accuracy=.98))
@pytest.fixture
def client(): return app().test_client()

def save(image, kind='PNG', **kw): buf = io.BytesIO(); image.save(buf, kind, **kw); return buf.getvalue()
def digit(): im = Image.new('L', (100, 100), 255); im.paste(0, (20, 15, 32, 85)); return im
def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind+data))
def declares(w, h, pixels=b''):
    head = struct.pack('>IIBBBBB', w, h, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(pixels)) + chunk(b'IEND', b'')
def rows(v=0): return [[v]*SIZE for _ in range(SIZE)]
def one(v): r = rows(); r[2][3] = v; return r

def refused(r, status, *words):
    assert r.status_code == status, (r.status_code, r.data[:200])
    assert r.is_json and list(r.json) == ['error'], r.data[:200]
    assert 'Traceback' not in r.json['error'] and '\n' not in r.json['error']
    for w in words: assert w in r.json['error'], r.json['error']
    assert r.headers['X-Content-Type-Options'] == 'nosniff' and 'Content-Security-Policy' in r.headers

# ---- what works

def test_health(client):
    r = client.get('/health')
    assert r.status_code == 200 and r.json == dict(status='ok', title='Stand-in', classes=CLASSES, size=SIZE, digit=True, info=dict(accuracy=.98))

@pytest.mark.parametrize('path', ['/', '/static/digit.js', '/static/digit.css'])
def test_page(client, path):
    r = client.get(path)
    assert r.status_code == 200 and r.headers['X-Content-Type-Options'] == 'nosniff'
    assert "script-src 'self'" in r.headers['Content-Security-Policy'] and b'http://' not in r.data.replace(b'http://www.w3.org', b'')

def test_json_one(client):
    r = client.post('/predict', json=dict(image=rows(7)))
    o, = r.json['predictions']
    assert r.status_code == 200 and (o['label'], o['class'], o['probability']) == ('7', 7, 1) and o['probabilities']['7'] == 1
    assert list(o['probabilities']) == CLASSES and r.json['milliseconds'] > 0 and 'image' not in o

def test_json_many_flat_and_floats(client):
    r = client.post('/predict', json=dict(images=[rows(k) for k in (3, 200, 0)]))
    assert [o['label'] for o in r.json['predictions']] == ['3', '200', '0']
    assert client.post('/predict', json=dict(image=[4]*SIZE**2)).json['predictions'][0]['label'] == '4'
    assert client.post('/predict', json=dict(image=rows(254.6))).json['predictions'][0]['label'] == '255'
    assert len(client.post('/predict', json=dict(images=[rows(1)]*256)).json['predictions']) == 256

PICTURES = dict(
    grey=(digit(), 'PNG'), jpeg=(digit(), 'JPEG'), colour=(digit().convert('RGB'), 'PNG'), light_on_dark=(digit().point(lambda v: 255-v), 'PNG'),
    bits=(digit().convert('1'), 'PNG'), palette=(digit().convert('P'), 'PNG'), cmyk=(digit().convert('CMYK'), 'JPEG'),
    deep=(Image.fromarray(np.asarray(digit()).astype(np.uint16)*257), 'PNG'),
    clear=(Image.merge('RGBA', [Image.new('L', (100, 100))]*3 + [digit().point(lambda v: 255-v)]), 'PNG'))

@pytest.mark.parametrize('name', PICTURES)
def test_picture(client, name):
    image, kind = PICTURES[name]
    data, mime = save(image, kind), f'image/{kind.lower()}'
    raw = client.post('/predict?image=1', data=data, content_type=mime)
    form = client.post('/predict?image=1', data=dict(file=(io.BytesIO(data), 'x')), content_type='multipart/form-data')
    assert raw.status_code == form.status_code == 200
    x = np.array(raw.json['predictions'][0]['image'])
    assert x.tolist() == form.json['predictions'][0]['image'] and x.shape == (SIZE, SIZE)
    assert x.max() == 255 and (x[:, :2].sum(), x[:, -2:].sum()) == (0, 0) and (x.max(1) > 200).all() # a bar from top to bottom, in the middle

# ---- what is refused

@pytest.mark.parametrize('kind', ['image/png', 'application/json', 'text/plain', ''])
def test_empty_body(client, kind): refused(client.post('/predict', content_type=kind), 400, 'the body is empty')

def test_form(client):
    refused(client.post('/predict', data=dict(file=(io.BytesIO(b''), 'x.png')), content_type='multipart/form-data'), 400, 'the body is empty')
    refused(client.post('/predict', data=dict(image=(io.BytesIO(save(digit())), 'x.png')), content_type='multipart/form-data'), 400, '"file"')
    refused(client.post('/predict', data=b'no boundary', content_type='multipart/form-data'), 400)

@pytest.mark.parametrize('data', [b'hello', b'GIF89a', save(digit(), 'GIF'), save(digit(), 'BMP'), save(digit(), 'TIFF'), b'\x89PNG', b'<svg/>', b'%PDF-1.7'])
def test_not_an_image(client, data):
    refused(client.post('/predict', data=data, content_type='image/png'), 415, 'not a PNG or JPEG')
    refused(client.post('/predict', data=dict(file=(io.BytesIO(data), 'x.png')), content_type='multipart/form-data'), 415, 'not a PNG or JPEG')

@pytest.mark.parametrize('kind', ['image/gif', 'text/plain', 'application/octet-stream', '', 'application/x-www-form-urlencoded'])
def test_content_type(client, kind): refused(client.post('/predict', data=save(digit()), content_type=kind), 415, 'content type', 'application/json')

@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
def test_huge_declaration_takes_no_memory(client):
    def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**20 if sys.platform == 'darwin' else 2**10) # MB
    client.post('/predict', data=save(digit()), content_type='image/png')
    before = peak()
    for w, h in ((50_000, 50_000), (4097, 1), (1, 2**31-1), (10_000, 10_000)):
        refused(client.post('/predict', data=declares(w, h), content_type='image/png'), 413, 'more than 4096 pixels')
    assert peak()-before < 20

def test_huge_jpeg_declaration(client):
    data = bytearray(save(digit(), 'JPEG')); at = data.index(b'\xff\xc0')+5
    data[at:at+4] = struct.pack('>HH', 50_000, 50_000)
    refused(client.post('/predict', data=bytes(data), content_type='image/jpeg'), 413, 'more than 4096 pixels')

@pytest.mark.parametrize('data', [save(digit())[:-40], save(digit())[:60], save(digit(), 'JPEG')[:-200], b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff', declares(100, 100, b'\0'*10),
                                  declares(0, 5), save(digit())[:33]+b'\xff'*500], ids=range(8))
def test_damaged(client, data): refused(client.post('/predict', data=data, content_type='image/png'), 400, 'damaged')

@pytest.mark.parametrize('image', [Image.new('L', (50, 50), 255), Image.new('L', (50, 50)), Image.new('L', (1, 1), 90), Image.new('RGBA', (9, 9))])
def test_empty_picture(client, image): refused(client.post('/predict', data=save(image), content_type='image/png'), 422, 'the image is empty')

@pytest.mark.parametrize('kind', ['image/png', 'application/json', 'multipart/form-data; boundary=x'])
def test_20_mb(client, kind): refused(client.post('/predict', data=b'x'*20_000_000, content_type=kind), 413, '4 MB')

@pytest.mark.parametrize('data', [b'{', b'{"image": [1,', b'hello', b'\xff\xfe', b'['*100_000, b'{"image": [' + b'9'*5000 + b']}'])
def test_malformed_json(client, data): refused(client.post('/predict', data=data, content_type='application/json'), 400, 'not JSON')

ARRAYS = [
    (rows()[:-1], 'image has 7 rows, expected 8'), ([[0]*28]*28, 'image has 28 rows, expected 8'), ([0]*63, 'image has 63 rows'), ([], 'image has 0 rows'),
    (rows()[:-1]+[[0]*7], 'image[7] has 7 numbers, expected 8'), (rows()[:-1]+[3], 'image[7] is 3'), ([rows(), rows()[1:]], 'images[1] has 7 rows'),
    ([[[0]*SIZE]*SIZE, 5], 'images[1] is 5'), (one(float('nan')), 'image[2][3] is NaN'), (one(INF), 'image[2][3] is Infinity'), (one(-INF), 'is -Infinity'),
    (one(256), 'image[2][3] is 256, expected a number from 0 to 255'), (one(-1), 'is -1'), (one(255.01), 'is 255.01'), (one('12'), 'image[2][3] is "12"'),
    (one(True), 'image[2][3] is true'), (one(None), 'image[2][3] is null'), (one([1]), 'image[2][3] is a list'), (one({}), 'is an object'), (one(10**400), 'is 1000'),
    ('abc', 'image is "abc"'), (None, 'image is null'), (7, 'image is 7'), ({}, 'image is an object'), ([rows()]*257, '257 images'), (one('x'*9999), 'is "xxx'), ([[[[0]]]], 'expected')]

@pytest.mark.parametrize('key', ['image', 'images'])
@pytest.mark.parametrize('i', range(len(ARRAYS)))
def test_array(client, i, key):
    obj, words = ARRAYS[i]
    r = client.post('/predict', data=json.dumps({key: obj}), content_type='application/json')
    refused(r, 422, words); assert len(r.json['error']) < 200

@pytest.mark.parametrize('obj', [[], {}, dict(picture=rows()), dict(image=rows(), images=[rows()]), 3, None])
def test_json_without_image(client, obj):
    refused(client.post('/predict', data=json.dumps(obj), content_type='application/json'), 422, 'expected {"image"')

@pytest.mark.parametrize('path', ['/nothing', '/predict/', '/static/nothing.js', '/static/../core/run.py', '/static/%2e%2e/core/run.py'])
def test_unknown_route(client, path): refused(client.get(path), 404, 'nothing at')

@pytest.mark.parametrize('method,path,allow', [('get', '/predict', 'POST'), ('put', '/predict', 'POST'), ('delete', '/', 'GET'), ('post', '/health', 'GET')])
def test_wrong_method(client, method, path, allow):
    r = getattr(client, method)(path)
    refused(r, 405, method.upper(), allow); assert allow in r.headers['Allow']

def test_own_failure_is_500_without_details(caplog):
    def broken(x): raise KeyError('secret')
    refused(app(broken).test_client().post('/predict', json=dict(image=rows())), 500, 'the server failed')
    assert 'secret' in caplog.text

def test_a_failed_request_leaves_the_lock_free():
    c = app().test_client()
    for _ in range(3): c.post('/predict', data=b'x', content_type='image/png')
    assert c.post('/predict', json=dict(image=rows(5))).json['predictions'][0]['label'] == '5'

# ---- the server

@pytest.fixture
def url():
    server = make_server(app(), port=0)
    t = threading.Thread(target=server.run, daemon=True); t.start()
    yield f'http://127.0.0.1:{server.effective_port}'
    server.task_dispatcher.shutdown(); server.close()

def post(url, body, kind='application/json'):
    try:
        with urllib.request.urlopen(urllib.request.Request(url+'/predict', body, {'Content-Type': kind}), timeout=60) as r: return r.status, json.load(r)
    except urllib.error.HTTPError as e: return e.code, json.load(e)

def test_200_at_once(url):
    ready = threading.Barrier(200)
    def go(k): ready.wait(); return post(url, json.dumps(dict(image=rows(k))).encode())
    with ThreadPoolExecutor(200) as pool: answers = list(pool.map(go, range(200)))
    assert [a[0] for a in answers] == [200]*200
    assert [a[1]['predictions'][0]['class'] for a in answers] == list(range(200))

def test_real_server_refuses_in_json(url):
    assert post(url, b'x'*20_000_000, 'image/png') == (413, {'error': 'the body is larger than 4 MB'})
    assert post(url, b'x', 'image/png') == (415, {'error': 'this is not a PNG or JPEG image'})
    assert post(url, json.dumps(dict(image=rows(9))).encode())[1]['predictions'][0]['label'] == '9'

def test_foreign_forms_are_refused(url):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + save(digit()) + b'\r\n--x--\r\n'
    def form(**headers):
        request = urllib.request.Request(url+'/predict', body, {'Content-Type': 'multipart/form-data; boundary=x'} | headers)
        try:
            with urllib.request.urlopen(request) as r: return r.status
        except urllib.error.HTTPError as e: return e.code
    assert form() == form(Origin=url) == 200
    assert form(Origin='http://evil.example') == form(Origin='null') == form(Host='evil.example') == 403

def test_ports():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0)); s.listen(); port = s.getsockname()[1]
        with pytest.raises(RunError, match=f'port {port} is in use: choose another one with --port'): make_server(app(), port=port)
    with pytest.raises(RunError, match='port is 70000'): make_server(app(), port=70_000)
    with pytest.raises(RunError, match='192.0.2.1'): make_server(app(), host='192.0.2.1', port=0)
    with pytest.raises(RunError, match='no.such.host.invalid'): make_server(app(), host='no.such.host.invalid', port=0)

@pytest.mark.parametrize('sig', [signal.SIGINT])
def test_ctrl_c_is_clean(sig):
    code = "from era_nbdev.foundations.drawings import create_app; from era_nbdev.foundations.web import serve; serve(create_app(None, ['a'], 8, 'x'), port=0)"
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert p.stdout.readline().startswith('serving on http://127.0.0.1:')
    time.sleep(.3); p.send_signal(sig)
    out, err = p.communicate(timeout=120)
    assert p.returncode == 0 and 'Traceback' not in err, err
