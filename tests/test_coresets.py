"Coresets from the command line: what it writes, and one line for everything that cannot work."
import io, os, subprocess, sys
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from era_nbdev.core.cli import main
from era_nbdev.vision import coresets

def era(capsys, *words): # status, what was printed, the line on stderr
    status = main(['coreset', *map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err

@pytest.fixture
def features(tmp_path):
    path = tmp_path/'features.npy'
    np.save(path, np.random.default_rng(0).normal(size=(300, 8)))
    return path

@pytest.mark.parametrize('method', coresets.METHODS)
def test_indices_are_written(capsys, tmp_path, features, method):
    out = tmp_path/'part.npy'
    status, said, _ = era(capsys, features, '--keep', '10%', '--method', method, '--out', out)
    kept = np.load(out)
    assert status == 0 and '30 of 300' in said
    assert kept.dtype == np.int64 and len(set(kept)) == 30 and (np.diff(kept) > 0).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ['features.npy', 'part.npy'] # nothing half-written

def test_labels_balance(capsys, tmp_path, features):
    np.save(tmp_path/'y.npy', np.repeat([0, 1, 2], [10, 90, 200]))
    words = '--keep', 30, '--labels', tmp_path/'y.npy', '--out', tmp_path/'part.txt'
    assert era(capsys, features, *words)[0] == 0
    kept = np.array((tmp_path/'part.txt').read_text().split(), int)
    assert np.bincount(np.repeat([0, 1, 2], [10, 90, 200])[kept]).tolist() == [10, 10, 10]

def test_a_folder_of_pictures(capsys, tmp_path):
    for name, colour in (('red', 'red'), ('blue', 'blue')):
        (tmp_path/'all'/name).mkdir(parents=True)
        for i in range(3): Image.new('RGB', (30+i, 20), colour).save(tmp_path/'all'/name/f'{i}.jpg')
    assert era(capsys, tmp_path/'all', '--keep', 2, '--out', tmp_path/'part.txt')[0] == 0
    assert [Path(line).parent.name for line in (tmp_path/'part.txt').read_text().split()] == ['blue', 'red']

def spoil(kind): # an array that cannot be chosen from
    X = np.ones((50, 4))
    if kind == 'nan': X[7, 1] = np.nan
    if kind == 'infinity': X[3, 0] = np.inf
    if kind == 'shape': X = X[:, 0]
    if kind == 'empty': X = X[:0]
    if kind == 'dtype': X = X.astype(str)
    if kind == 'complex': X = X.astype(complex)
    return X

@pytest.mark.parametrize('kind, told', dict(
    nan='row 7 of the features holds nan', infinity='row 3 of the features', shape='expected numbers [n, d]',
    empty='expected numbers [n, d]', dtype='expected numbers [n, d]', complex='expected numbers [n, d]').items())
def test_bad_features(capsys, tmp_path, kind, told):
    np.save(tmp_path/'bad.npy', spoil(kind))
    status, _, line = era(capsys, tmp_path/'bad.npy', '--out', tmp_path/'part.npy')
    assert status == 2 and told in line and line.count('\n') == 1 and not (tmp_path/'part.npy').exists()

@pytest.mark.parametrize('keep', ['0', '0%', '101%', '301', '-5', 'a tenth', 'nan%', ''])
def test_bad_keep(capsys, features, keep):
    status, _, line = era(capsys, features, f'--keep={keep}')
    assert status == 2 and 'keep is' in line and line.count('\n') == 1

def test_bad_files(capsys, tmp_path, features):
    (tmp_path/'text.npy').write_text('no array')
    (tmp_path/'nothing').mkdir()
    (tmp_path/'one'/'red').mkdir(parents=True)
    (tmp_path/'one'/'red'/'x.jpg').write_bytes(b'no picture')
    told = {tmp_path/'missing.npy': 'does not exist', tmp_path/'text.npy': 'cannot be read',
            tmp_path/'nothing': 'holds no picture', tmp_path/'one': 'holds one class only',
            tmp_path/'one'/'red': 'is no picture that can be read'}
    for path, words in told.items():
        status, _, line = era(capsys, path, '--keep', 1, '--out', tmp_path/'part.npy')
        assert status == 2 and words in line and line.count('\n') == 1, path
    for out, words in ((tmp_path/'x.csv', '.npy or .txt'), (tmp_path/'no'/'x.npy', 'is no folder')):
        status, _, line = era(capsys, features, '--out', out)
        assert status == 2 and words in line

@pytest.mark.parametrize('labels, told', [(np.full(300, 4), 'one class only, 4'), (np.arange(5), 'expected 300'),
                                          (np.ones(300), 'expected 300 whole numbers')])
def test_bad_labels(capsys, tmp_path, features, labels, told):
    np.save(tmp_path/'y.npy', labels)
    status, _, line = era(capsys, features, '--labels', tmp_path/'y.npy')
    assert status == 2 and told in line

def test_more_than_memory(capsys, monkeypatch, features):
    monkeypatch.setattr(coresets, 'free_memory', lambda: 1e5)
    status, _, line = era(capsys, features)
    assert status == 2 and 'GB are free: keep fewer' in line

def test_an_unknown_method(capsys, features):
    assert era(capsys, features, '--method', 'best')[0] == 2

def test_a_hundred_thousand_fit_into_four_gigabytes(tmp_path):
    code = ('import numpy as np; from era_nbdev.vision import coresets as c; from era_nbdev.core.run import peak_memory; '
            'kept = c.facility_location(c.race_data(100_000), 500); print(len(set(kept)), peak_memory())')
    env = os.environ | dict(OMP_NUM_THREADS='1')
    answer = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, timeout=300)
    n, megabytes = map(int, answer.stdout.split())
    assert n == 500 and megabytes < 4000

def test_the_same_choice_as_apricot():
    apricot = pytest.importorskip('apricot')
    X = coresets.race_data(150, 8)
    S = coresets.similarity(X, X, coresets.widest(X)).astype(np.float64)
    theirs = apricot.FacilityLocationSelection(15, metric='precomputed', optimizer='lazy').fit(S)
    assert theirs.ranking.tolist() == coresets.facility_lazy(S, 15).tolist()
