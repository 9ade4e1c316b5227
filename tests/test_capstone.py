"The project that `era new capstone` makes works: its own tests pass where its owner would run them, and nothing that exists is written over."
import os, subprocess, sys
from pathlib import Path
import pytest
from era_nbdev.core import book

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('capstone')/'mine'
    done = era('new', 'capstone', str(folder), '--size', '400')
    assert done.returncode == 0, done.stderr
    return folder

def run(*words, cwd=None):
    env = os.environ | dict(PYTHONPATH=str(book.project()), OMP_NUM_THREADS='1')
    return subprocess.run([sys.executable, '-m', *words], capture_output=True, text=True, env=env, cwd=cwd, timeout=600)

def era(*words): return run('era_nbdev.core.cli', *words)

def test_its_own_tests_pass(made):
    done = run('pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', cwd=made)
    assert done.returncode == 0 and '4 passed' in done.stdout, done.stdout[-3000:]+done.stderr[-2000:]

def test_its_tests_notice_a_leak(made):
    texts, kept = made/'data/texts.txt', (made/'data/texts.txt').read_text(encoding='utf-8')
    answer = (made/'data/evaluation.jsonl').read_text(encoding='utf-8').splitlines()[3].split('"')[-2]
    texts.write_text(kept+f'It was on {answer}.\n', encoding='utf-8')
    done = run('pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', '-k', 'trained_on', cwd=made)
    texts.write_text(kept, encoding='utf-8')
    assert done.returncode == 1 and '1 failed' in done.stdout, done.stdout[-2000:]

def test_nothing_is_written_over(made):
    before = {path: path.read_bytes() for path in made.rglob('*') if path.is_file()}
    done = era('new', 'capstone', str(made))
    assert done.returncode == 2 and 'is not empty' in done.stderr and done.stderr.count('\n') == 1, done.stderr
    assert {path: path.read_bytes() for path in made.rglob('*') if path.is_file()} == before
    assert not list(made.parent.glob('.*')) # no half-written copy

def test_the_files_say_what_they_promise(made):
    yaml = pytest.importorskip('yaml')
    flow = yaml.safe_load((made/'.github/workflows/test.yml').read_text(encoding='utf-8'))
    assert [step for step in flow['jobs']['test']['steps'] if step.get('run') == 'pytest -q']
    docker = (made/'Dockerfile').read_text(encoding='utf-8')
    assert 'USER era' in docker and '"stage", "serve"' in docker
    readme = (made/'README.md').read_text(encoding='utf-8')
    for name in ('train', 'instruct', 'evaluate', 'quantise', 'serve', 'monitor'): assert f'`era stage {name}`' in readme
    texts = [path for path in Path(made).rglob('*') if path.is_file() and '__pycache__' not in path.parts]
    for path in texts: assert 'PROJECT_NAME' not in path.read_text(encoding='utf-8'), path
