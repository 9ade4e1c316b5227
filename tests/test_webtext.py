"The pipeline of scale.webtext: a run that is killed as a whole goes on where it was."
import json, multiprocessing, os, signal, sys, time
from pathlib import Path
import pytest
pytest.importorskip('datatrove')
pytest.importorskip('trafilatura')
import numpy as np
from era_nbdev.llm.tokenizers import train_bpe
from era_nbdev.scale.text import crawl_texts
from era_nbdev.scale.webtext import Plan, practice_pages, run_here, run_local, unfinished, write_crawl

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='process groups of Linux')

def kept(out): # addresses, with repetitions if there are any
    lines = [line for f in Path(out, 'kept').glob('*.jsonl') for line in f.open()]
    return sorted(json.loads(line)['metadata']['url'] for line in lines)

def start(plan): # a run of the whole pipeline, in a process of its own
    process = multiprocessing.get_context('fork').Process(target=run_local, args=(plan,))
    process.start()
    return process

def test_a_killed_run_goes_on(tmp_path):
    texts = crawl_texts('pydocs', 60)
    pages = practice_pages(texts, 24, np.random.default_rng(22))
    (tmp_path/'crawl').mkdir()
    write_crawl(tmp_path/'crawl/a.warc.gz', pages[:12])
    write_crawl(tmp_path/'crawl/b.warc.gz', pages[12:])
    train_bpe(['\n'.join(text) for text in texts[:5]], 300, special=['<|endoftext|>']).save(tmp_path/'t.json')
    plans = {name: Plan(str(tmp_path/'crawl'), str(tmp_path/name), tasks=2, words='spaces', urls='none', tokenizer=str(tmp_path/'t.json'),
                        hold_out=500) for name in ('calm', 'hit')}
    run_here(plans['calm'])
    assert len(kept(tmp_path/'calm')) >= 5

    hit = start(plans['hit'])
    while not list(tmp_path.glob('hit/dropped/*/00000.jsonl')) and hit.is_alive(): time.sleep(.01)
    workers = Path(f'/proc/{hit.pid}/task/{hit.pid}/children').read_text().split()
    hit.kill()
    for pid in workers: # of this run alone, each the leader of a group
        try: os.killpg(int(pid), signal.SIGKILL)
        except ProcessLookupError: pass
    hit.join(60)
    assert hit.exitcode == -signal.SIGKILL
    assert unfinished(plans['hit'], 'extract') == [0, 1] # it was in the middle of its first task
    assert not (tmp_path/'hit/shards').exists() and (tmp_path/'hit/plan.json').exists()
    again = start(plans['hit'])
    again.join(300)
    assert again.exitcode == 0
    assert kept(tmp_path/'hit') == kept(tmp_path/'calm')
    for kind in ('train', 'valid'):
        one, other = (np.load(next(Path(tmp_path, k, 'shards', kind).glob('*.npy'))) for k in ('hit', 'calm'))
        assert (one == other).all()
