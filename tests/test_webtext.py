"The pipeline of scale.webtext: a run whose runner is killed goes on where it was, and nobody else writes there."
import json, multiprocessing, os, signal, sys, time
from dataclasses import replace
from pathlib import Path
import pytest
pytest.importorskip('datatrove')
pytest.importorskip('trafilatura')
import numpy as np
from era_nbdev.core.errors import RunError
from era_nbdev.llm.tokenizers import train_bpe
from era_nbdev.scale.dedup import practice_pages, write_crawl
from era_nbdev.scale.stages import report
from era_nbdev.scale.text import crawl_texts
from era_nbdev.scale.webtext import STAGES, Plan, locked, run_here, run_local, unfinished

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='signals and process groups of Linux')

def kept(out): # addresses, with repetitions if there are any
    lines = [line for f in Path(out, 'kept').glob('*.jsonl') for line in f.open()]
    return sorted(json.loads(line)['metadata']['url'] for line in lines)

def at_work(plan, stage): # has a task of the stage begun, and in the first stage, written something?
    wanted = 'dropped/*/*.jsonl' if stage == 'extract' else f'logs/{stage}/logs/task_*.log'
    return bool(list(Path(plan.out).glob(wanted)))

def run_until(plan, stage, pids): # a run whose runner, and nobody else, is killed while a task of the stage is at work
    def started(now, pid):
        with pids.open('a') as file: file.write(f'{pid}\n')
        if now != stage: return
        while not at_work(plan, stage): time.sleep(.01)
        os.kill(os.getpid(), signal.SIGKILL)
    process = multiprocessing.get_context('fork').Process(target=run_local, args=(plan, 2), kwargs=dict(started=started))
    process.start()
    process.join(120)
    return process.exitcode

def processes_of(pids): # living processes that are one of these or in the group of one
    leaders, found = {int(pid) for pid in pids.read_text().split()}, []
    for place in Path('/proc').glob('[0-9]*/stat'):
        try: state, _, group = place.read_text().rsplit(')', 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError): continue
        if int(group) in leaders and state not in 'ZX': found.append(place.parent.name)
    return found

@pytest.fixture(scope='module')
def calm(tmp_path_factory): # the plan of a run that nobody disturbed
    home = tmp_path_factory.mktemp('webtext')
    texts = crawl_texts('pydocs', 60)
    pages = practice_pages(texts, 24, np.random.default_rng(22))
    (home/'crawl').mkdir()
    write_crawl(home/'crawl/a.warc.gz', pages[:12])
    write_crawl(home/'crawl/b.warc.gz', pages[12:])
    train_bpe(['\n'.join(text) for text in texts[:5]], 300, special=['<|endoftext|>']).save(home/'t.json')
    plan = Plan(str(home/'crawl'), str(home/'calm'), tasks=2, words='spaces', urls='none', tokenizer=str(home/'t.json'), hold_out=500)
    run_here(plan)
    assert len(kept(plan.out)) >= 5
    return plan

def test_a_killed_run_goes_on(calm, tmp_path):
    hit, pids = replace(calm, out=str(tmp_path/'hit')), tmp_path/'pids'
    for stage in STAGES:
        assert run_until(hit, stage, pids) == -signal.SIGKILL, stage
        for _ in range(500): # the system needs a moment to end them
            if not processes_of(pids): break
            time.sleep(.01)
        assert not processes_of(pids), stage
        if stage == 'extract': assert unfinished(hit, stage) == [0, 1] # a worker that lived on would have finished its task
    assert run_until(hit, 'none', pids) == 0
    assert kept(hit.out) == kept(calm.out)
    for kind in ('train', 'valid'):
        one, other = (np.load(next(Path(plan.out, 'shards', kind).glob('*.npy'))) for plan in (hit, calm))
        assert (one == other).all()

def test_two_runs_never_write_into_one_folder(calm):
    with locked(calm), pytest.raises(RunError, match=f'in use by process {os.getpid()}'): run_here(calm)
    with locked(calm), pytest.raises(RunError, match='in use by'): run_local(calm)
    run_here(calm) # the lock was given back

def test_a_report_names_its_rows_by_the_plan_of_the_run(calm, tmp_path):
    shorter = replace(calm, out=str(tmp_path/'shorter'), without='url,c4')
    run_here(shorter)
    asked = report(Plan(calm.source, shorter.out)) # as `era webtext report` asks, without the settings of the run
    assert asked == report(shorter)
    assert [row.step for row in asked] == ['crawl files', 'text', 'language', 'repetition', 'gopher', 'fineweb', 'duplicate']
