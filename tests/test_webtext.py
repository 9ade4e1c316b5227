"The pipeline of scale.webtext: a run that is killed as a whole goes on where it was."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest
pytest.importorskip('datatrove')
pytest.importorskip('trafilatura')
import numpy as np
from era_nbdev.core.data import load
from era_nbdev.llm.tokenizers import train_bpe
from era_nbdev.scale.webtext import practice_pages, write_crawl

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='process groups of Linux')

def kept(out): # addresses, with repetitions if there are any
    lines = [line for f in Path(out, 'kept').glob('*.jsonl') for line in f.open()]
    return sorted(json.loads(line)['metadata']['url'] for line in lines)

def start(crawl, out, tokenizer):
    words = [sys.executable, '-m', 'era_nbdev.core.cli', 'webtext', 'run', str(crawl), str(out), '--tasks', '2', '--words', 'spaces',
             '--urls', 'none', '--tokenizer', str(tokenizer), '--hold-out', '500']
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def test_a_killed_run_goes_on(tmp_path):
    texts = [t for t in load('pydocs').split('\n\n\n') if len(t.split()) >= 150]
    pages = practice_pages(texts, 40, np.random.default_rng(22))
    (tmp_path/'crawl').mkdir()
    write_crawl(tmp_path/'crawl/a.warc.gz', pages[:20])
    write_crawl(tmp_path/'crawl/b.warc.gz', pages[20:])
    train_bpe(texts[:5], 300, special=['<|endoftext|>']).save(tmp_path/'t.json')
    calm = start(tmp_path/'crawl', tmp_path/'calm', tmp_path/'t.json')
    said = calm.communicate(timeout=300)[0]
    assert calm.returncode == 0, said
    assert len(kept(tmp_path/'calm')) >= 5

    hit = start(tmp_path/'crawl', tmp_path/'hit', tmp_path/'t.json')
    while not list(tmp_path.glob('hit/dropped/*/00000.jsonl')) and hit.poll() is None: time.sleep(.01)
    workers = Path(f'/proc/{hit.pid}/task/{hit.pid}/children').read_text().split()
    hit.kill()
    for pid in workers: # of this run alone, each the leader of a group
        try: os.killpg(int(pid), signal.SIGKILL)
        except ProcessLookupError: pass
    hit.communicate(timeout=60)
    assert not (tmp_path/'hit/shards').exists() and (tmp_path/'hit/plan.json').exists()
    again = start(tmp_path/'crawl', tmp_path/'hit', tmp_path/'t.json')
    said = again.communicate(timeout=300)[0]
    assert again.returncode == 0, said
    assert kept(tmp_path/'hit') == kept(tmp_path/'calm')
    for kind in ('train', 'valid'):
        one, other = (np.load(next(Path(tmp_path, k, 'shards', kind).glob('*.npy'))) for k in ('hit', 'calm'))
        assert (one == other).all()
