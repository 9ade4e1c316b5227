"Data sets and the ledger: what is refused, what heals, and what the registry states."
import gzip
import io
import random
import struct
import subprocess
import tarfile

import pytest

from era_nbdev.core import data, ledger


def counted(images):
    n_train, channels, _, size = images.x_train.shape
    return data.Info(n_train, len(images.x_test), size, channels, tuple(images.classes))


@pytest.mark.real
@pytest.mark.parametrize('name', [d.name for d in data.REGISTRY.values() if d.info])
def test_info_is_what_is_loaded(name):
    if data.find(data.dataset(name)) is None:
        pytest.skip(f'{name} is not on this machine')
    assert data.info(name) == counted(data.load(name))


def test_checksum_reads_the_files_and_a_name_comes_first(tmp_path, monkeypatch):
    "A folder called like a data set is not taken for it, and an edited file changes the checksum."
    monkeypatch.setenv('ERA_DATA', str(tmp_path))
    monkeypatch.setenv('ERA_CACHE', str(tmp_path/'cache'))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(data.DataError, match='not on this machine'):
        data.checksum('names')
    (tmp_path/'names').mkdir()
    with pytest.raises(data.DataError, match='not on this machine'):
        data.checksum('names')
    (tmp_path/'names'/'names.txt').write_text('ada\n', encoding='utf-8')
    before = data.checksum('names')
    (tmp_path/'names'/'names.txt').write_text('eva\n', encoding='utf-8')
    assert data.checksum('names') != before


@pytest.fixture
def own(monkeypatch, tmp_path):
    "Empty folders for data and cache, and no server that could be asked."
    (tmp_path/'data').mkdir()
    monkeypatch.setenv('ERA_DATA', str(tmp_path/'data'))
    monkeypatch.setenv('ERA_CACHE', str(tmp_path/'cache'))
    monkeypatch.setenv('ERA_MIRROR', 'http://127.0.0.1:9')
    return tmp_path


def put(own, name, **files):
    folder = own/'data'/name
    folder.mkdir()
    for f in data.REGISTRY[name].files:
        (folder/f).write_bytes(files.get(f.split('.')[0], b''))
    return folder


def test_zeros_inside_a_gzip_file(own, capsys):
    "Damage that zlib notices, not gzip: it was a traceback."
    from era_nbdev.core.cli import main
    lines = gzip.compress(b'ein Satz\n'*4000)
    spoiled = bytearray(gzip.compress(random.Random(1).randbytes(4000)))
    spoiled[200:264] = bytes(64)
    put(own, 'multi30k', train=bytes(spoiled), val=lines, test_2016_flickr=lines, test_2017_flickr=lines)
    with pytest.raises(data.DataError, match=r'Not the published files: train\.de\.gz'):
        data.load('multi30k')
    images = gzip.compress(struct.pack('>HBB3I', 0, 8, 3, 10, 28, 28)+random.Random(1).randbytes(7840))
    images = images[:1000]+bytes(64)+images[1064:]
    put(own, 'mnist', **{'train-images-idx3-ubyte': images})
    assert main('run mnist --data mnist'.split()) == 2
    said = capsys.readouterr().err
    assert 'train-images-idx3-ubyte.gz' in said and 'era data verify mnist' in said and 'Traceback' not in said


def archive(*names):
    "A tar with one tiny picture at each of `names`."
    from PIL import Image
    picture, out = io.BytesIO(), io.BytesIO()
    Image.new('RGB', (32, 32), 'red').save(picture, 'PNG')
    with tarfile.open(fileobj=out, mode='w:gz') as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(picture.getvalue())
            tar.addfile(member, io.BytesIO(picture.getvalue()))
    return out.getvalue()


@pytest.mark.parametrize('names', [('other/pictures/0.png',), ('cifar/train/cat/0.png',), ('0.png',), ()], ids=['other', 'no test', 'flat', 'empty'])
def test_a_wrong_archive(own, names):
    "A tar of something else was a KeyError."
    put(own, 'cifar10', cifar10_jpeg=archive(*names))
    with pytest.raises(data.DataError, match=r'Not the published files: cifar10_jpeg\.tar\.gz'):
        data.load('cifar10')


@pytest.mark.parametrize('damage', [bytes(5000), b'', b'PK\3\4 not a zip', None], ids=['zeros', 'empty', 'text', 'cut'])
def test_a_damaged_decoded_cache_heals(own, damage):
    "The cache was blamed on sound files, and stayed broken."
    put(own, 'cifar10', cifar10_jpeg=archive(*(f'cifar/{s}/{c}/{i}.png' for s in ('train', 'test') for c in ('ant', 'bee') for i in range(3))))
    first = data.load('cifar10')
    cache = own/'cache'/'cifar10'/'decoded.npz'
    cache.write_bytes(cache.read_bytes()[:3000] if damage is None else damage)
    again = data.load('cifar10')
    assert again.x_train.equal(first.x_train) and again.classes == ['ant', 'bee']
    assert cache.stat().st_size > 5000 and [p.name for p in cache.parent.iterdir()] == ['decoded.npz']


def test_one_missing_file_is_named(own):
    "Three files of four: the fourth is named, and the three are not fetched again."
    folder = put(own, 'mnist')
    (folder/'t10k-labels-idx1-ubyte.gz').unlink()
    with pytest.raises(data.DataError, match=r'not complete on this machine \(\S+ lacks t10k-labels-idx1-ubyte\.gz\)'):
        data.load('mnist')


@pytest.mark.real
def test_stories260k_is_a_folder():
    "The registry's checksums are those of the real files."
    ds = data.dataset('stories260k')
    if data.find(ds) is None:
        pytest.skip('stories260k is not on this machine')
    assert set(data.verify('stories260k').values()) == {'ok'} and (data.load('stories260k')/'config.json').is_file()


def test_commit_when_git_is_slow(monkeypatch):
    "`git status` that takes too long stopped every run."
    def slow(words, **kw):
        if words[1] == 'status':
            raise subprocess.TimeoutExpired(words, 20)
        return subprocess.CompletedProcess(words, 0, 'abcdef0123\n', '')
    monkeypatch.setattr(ledger.subprocess, 'run', slow)
    assert ledger.commit() == 'abcdef0123+'


@pytest.mark.parametrize('content', ['[{"kind": "run"}]', '[3]', '{}', '[{"kind', 'null', '[]]'])
def test_damaged_ledgers_are_named(content, tmp_path, monkeypatch, capsys):
    from era_nbdev.core.cli import main
    monkeypatch.setenv('ERA_RESULTS', str(tmp_path))
    (tmp_path/'a.b.json').write_text(content, encoding='utf-8')
    assert main(['results']) == 2
    said = capsys.readouterr().err
    assert said.startswith('era: the ledger file') and 'a.b.json is damaged' in said


def test_results_of_a_name(tmp_path, monkeypatch, capsys):
    from era_nbdev.core.cli import main
    monkeypatch.setenv('ERA_RESULTS', str(tmp_path))
    ledger.record('vision.toy', 'bench', 'toys', dict(ratio=2.), command='era bench toys')
    ledger.record('vision.toy', 'parity', 'toy sum', dict(error=0., allowed=1e-6, speed=1.), command='x')
    ledger.record('vision.other', 'run', 'other', dict(loss=1.), command='era run other', scale='smoke')
    assert main(['results', 'toy']) == 0
    said = capsys.readouterr().out
    assert 'era bench toys' in said and 'toy sum' in said and 'other' not in said
    assert main(['results', 'othr']) == 2 and "did you mean 'other'" in capsys.readouterr().err
    assert main(['results']) == 0 and 'era run other' in capsys.readouterr().out
