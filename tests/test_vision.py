"What no notebook cell tests of the vision chapters: interrupted runs, runs whose data are gone, folders of pictures and bad options on the command line."
import itertools, json, os, signal, struct, zlib
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from era_nbdev.core.cli import main
from era_nbdev.core.run import Run, RunError, open_run
from era_nbdev.foundations.callbacks import Track

pytest.importorskip('torchvision')

@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

@pytest.fixture(autouse=True, scope='module')
def one_thread():
    n = torch.get_num_threads(); torch.set_num_threads(1); yield; torch.set_num_threads(n)

def bad(capsys, words, *told): # one line, exit status 2, nothing written
    assert main(words.split() if isinstance(words, str) else words) == 2
    out, err = capsys.readouterr()
    assert err.startswith('era: ') and err.count('\n') == 1, err
    for t in told: assert t in err, err
    assert not Path('era_runs').exists() or not list(Path('era_runs').rglob('model.safetensors'))

# ---- a run that is interrupted goes on as if nothing had been

def summary(name): return [json.loads(f.read_text()) for f in sorted(Path('era_runs', name).glob('*/summary.json'))]

@pytest.mark.parametrize('words', ['run resnet --epochs 2 --widths 8 8 16 16 --flip --cutout 3', 'run augment --policy cutmix --epochs 2',
                                   'run convnets --epochs 2', 'run cnn --epochs 2'])
def test_interrupted_equals_whole(words, monkeypatch, capsys):
    words, real, steps = words.split(), Track.after_step, itertools.count(1)
    assert main(words) == 0
    def after_step(self, learn):
        if next(steps) == 7: signal.raise_signal(signal.SIGINT) # in the first epoch
        real(self, learn)
    with monkeypatch.context() as m:
        m.setattr(Track, 'after_step', after_step); assert main(words) == 130
    assert main([*words, '--resume']) == 0
    a, b = summary(words[1]); same = ('accuracy', 'test_loss', 'parameters')
    assert {k: a[k] for k in same if k in a} == {k: b[k] for k in same if k in b}

# ---- a finished run needs its folder and nothing else

def without_data(monkeypatch):
    "From here on no data set and no folder of pictures can be read."
    from era_nbdev.foundations import mnist
    from era_nbdev.vision import cnn, convnets, policies, resnet
    def gone(*args, **kw): raise FileNotFoundError('the data are gone')
    for module, name in itertools.product((mnist, cnn, convnets, policies, resnet), ('load', 'image_folder')):
        monkeypatch.setattr(module, name, gone, raising=False)

@pytest.mark.parametrize('name', ['cnn', 'convnets', 'augment', 'resnet'])
def test_answers_without_its_data(name, monkeypatch):
    assert main(['run', name, '--epochs', '1']) == 0
    run, x = open_run(name), torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    answer, seen = run.predict(x), run.explain(x[:1])
    without_data(monkeypatch)
    again = Run(run.dir)
    assert again.predict(x).equal(answer)
    assert again.explain(x[:1])['probabilities'].equal(seen['probabilities'])
    taken = again.experiment().takes(again)
    assert (taken['size'], taken['channels'], taken['classes']) == (8, 1, [str(i) for i in range(10)])

def test_answers_after_its_folder_moved(tmp_path, monkeypatch):
    folder, x = paint(tmp_path/'pictures'), torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    assert main(on('pictures')) == 0 # a path relative to this folder
    run = open_run('resnet')
    answer = run.predict(x)
    assert run.config['settings']['data'] == str(folder)
    folder.rename(tmp_path/'elsewhere')
    monkeypatch.chdir('/')
    again = Run(run.dir.resolve() if run.dir.is_absolute() else tmp_path/run.dir)
    assert again.predict(x).equal(answer)
    assert again.experiment().takes(again)['classes'] == ['ant', 'bee']

def test_a_run_without_its_description(monkeypatch):
    assert main(['run', 'convnets', '--epochs', '1']) == 0
    run = open_run('convnets')
    (run.dir/'images.json').write_text('{')
    with pytest.raises(RunError, match='images.json is damaged'): Run(run.dir).predict(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))

# ---- networks in their full size

@pytest.mark.parametrize('name, size', [('vgg16', 32), ('googlenet', 64), ('inception_v3', 299)])
def test_classic_networks_equal_torchvisions(name, size):
    import torchvision
    from era_nbdev.core.parity import max_error
    from era_nbdev.vision import convnets
    torch.manual_seed(0)
    ours, theirs = {'vgg16': lambda: convnets.vgg(16, dropout=0.), 'googlenet': lambda: convnets.googlenet(dropout_aux=0., dropout=0.),
                    'inception_v3': lambda: convnets.inception_v3(dropout=0.)}[name](), getattr(torchvision.models, name)(init_weights=False)
    for m in theirs.modules():
        if isinstance(m, torch.nn.Dropout): m.p = 0.
    ours.load_state_dict(convnets.from_torchvision(ours, theirs.state_dict()))
    names = [convnets.torchvision_keys(ours), {k: k for k in theirs.state_dict()}]
    x, y = torch.randn(2, 3, size, size), torch.arange(2); outs, grads = [], []
    for m, keys in zip((ours, theirs), names):
        out = m.train()(x); outs.append(list(out) if isinstance(out, tuple) else [out])
        convnets.with_heads()(out, y).backward()
        found = {keys[k]: p.grad for k, p in m.named_parameters()}
        grads.append({k: found[k] for k in sorted(found)})
    assert max_error(*outs) <= 1e-4 and max_error(*grads) <= 1e-4

# ---- options

@pytest.mark.parametrize('words, told', [
    ('run resnet --data nowhere', ["data is 'nowhere'", 'digits', 'folder']), ('run resnet --widths 8 16', ['(8, 16)', 'four numbers']),
    ('run resnet --bs 1', ['bs is 1', '2 or more']), ('run resnet --lr 0', ['lr is 0']),
    ('run resnet --drop-path 0.2', ['drop_path is 0.2', 'resnet9']), ('run resnet --ema 1', ['ema is 1']), ('run resnt', ["'resnt'", "'resnet'"]),
    ('run convnets --bs 1', ['bs is 1']), ('run convnets --epochs 0', ['epochs is 0']),
    ('run augment --epochs 0', ['epochs is 0']), ('run augment --bs 1', ['bs is 1']),
    ('run cnn --shift 8', ['shift is 8'])])
def test_bad_options(capsys, words, told): bad(capsys, words, *told)

@pytest.mark.parametrize('words, told', [
    ('run resnet --net resnet19', 'resnet19'), ('run resnet --lr-schedule linear', 'linear'), ('run convnets --net vgggg', 'vgggg'),
    ('run augment --policy mixupp', 'mixupp'), ('run cnn --data cifar', 'cifar')])
def test_unknown_choices(capsys, words, told): # tyro's own words
    assert main(words.split()) == 2
    assert told in capsys.readouterr().err and not Path('era_runs').exists()

# ---- folders of pictures

def paint(folder, classes=('ant', 'bee'), n=6, splits=('train', 'val'), size=(40, 32)):
    rng = np.random.default_rng(0)
    for s, (i, c) in itertools.product(splits, enumerate(classes)):
        (folder/s/c).mkdir(parents=True, exist_ok=True)
        for k in range(n): Image.fromarray(rng.normal(60+120*i, 20, (*size, 3)).clip(0, 255).astype('uint8')).save(folder/s/c/f'{k}.jpg')
    return folder

def on(folder): return ['run', 'resnet', '--data', str(folder), '--size', '16', '--widths', '4', '4', '8', '8', '--bs', '4', '--epochs', '1']

def huge_png(path, side=60_000): # a few bytes that promise 3.6 billion pixels
    def chunk(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
    path.write_bytes(b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0))+chunk(b'IEND', b''))

def test_a_folder_trains(tmp_path, capsys):
    assert main(on(paint(tmp_path/'pictures'))) == 0 and summary('resnet')[0]['accuracy'] >= .5

def test_empty_folder(tmp_path, capsys):
    (tmp_path/'empty').mkdir(); bad(capsys, on(tmp_path/'empty'), 'empty', 'train')

def test_a_split_without_pictures(tmp_path, capsys):
    f = paint(tmp_path/'half', splits=('train',)); bad(capsys, on(f), 'half', 'val')
    (f/'val'/'ant').mkdir(parents=True); bad(capsys, on(f), 'half', 'val')

def test_other_classes_in_val(tmp_path, capsys):
    f = paint(tmp_path/'mixed'); (f/'val'/'bee').rename(f/'val'/'wasp'); bad(capsys, on(f), 'bee', 'wasp')

def test_damaged_picture(tmp_path, capsys):
    f = paint(tmp_path/'damaged'); victim = f/'train'/'ant'/'3.jpg'
    victim.write_bytes(victim.read_bytes()[:300]); bad(capsys, on(f), '3.jpg')
    victim.write_text('no picture'); bad(capsys, on(f), '3.jpg')

def test_huge_picture(tmp_path, capsys):
    f = paint(tmp_path/'huge'); huge_png(f/'train'/'ant'/'large.png'); bad(capsys, on(f), 'large.png')

def test_skipping(tmp_path, recwarn):
    from era_nbdev.core.data import image_folder
    f = paint(tmp_path/'some'); (f/'train'/'ant'/'3.jpg').write_text('no picture'); huge_png(f/'val'/'bee'/'large.png')
    d = image_folder(f, 16, on_error='skip')
    told = ' '.join(str(w.message) for w in recwarn)
    assert len(d.x_train) == 11 and len(d.x_test) == 12 and '2 files of' in told and '3.jpg' in told
    with pytest.raises(ValueError, match='3.jpg'): image_folder(f, 16)

def test_a_resumed_run_refuses_other_images(tmp_path):
    "A run went on with images that had changed since its beginning, without a word."
    from era_nbdev.foundations import mnist
    paint(tmp_path/'pictures')
    assert main(on('pictures')) == 0
    run = open_run('resnet')
    (run.dir/'summary.json').unlink()
    images = run.experiment().images()
    run.resumed = True
    mnist.keep_images(run, run.config['settings']['data'], images)
    images.x_train[0, 0, 0, 0] ^= 1
    with pytest.raises(RunError, match='has changed since this run began'):
        mnist.keep_images(run, run.config['settings']['data'], images)
