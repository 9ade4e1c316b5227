"What no notebook cell can test of data parallelism: a worker of `torchrun` that is killed, and processes that must not write twice."
import os, subprocess, sys
from pathlib import Path
import pytest
from era_nbdev.core import ledger
from era_nbdev.core.run import Run, launch, settings
from torchrun import killed_and_finished

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
WORDS = ['--epochs', '6', '--save', '0', '--device', 'cpu']

def start(out: Path, *more: str) -> subprocess.Popen:
    "Two processes of `era run allreduce` under torchrun, which restarts them when one dies."
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '--max-restarts', '5']
    command = [*torchrun, '-m', 'era_nbdev.core.cli', 'run', 'allreduce', *WORDS, '--out', str(out), *more]
    env = os.environ | dict(OMP_NUM_THREADS='1', GLOO_SOCKET_IFNAME='lo', ERA_RESULTS=str(out/'results'))
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

def losses(run: Run) -> list[float]:
    return [row['loss'] for row in run.metrics('loss')]

def test_a_killed_worker_is_started_again_and_the_losses_stay(tmp_path):
    agent = start(tmp_path, '--record')
    told = killed_and_finished(agent, tmp_path, 'allreduce')
    finished = [d for d in (tmp_path/'allreduce').iterdir() if (d/'summary.json').exists()]
    assert len(finished) == 1, 'the processes did not go on with their run'
    run = Run(finished[0])
    alone = launch(settings('allreduce', epochs=6, save=0.), out=str(tmp_path/'alone'), device='cpu')
    assert run.summary['processes'] == 2 and len(losses(run)) == len(losses(alone)) == 6*22
    assert max(abs(a-b) for a, b in zip(losses(run), losses(alone))) < 1e-5
    assert told.count('run: ') == 1, 'more than one process reported its result'
    entry, = ledger.entries(tmp_path/'results/foundations.cloud.json')
    assert entry['resumed'] and entry['metrics']['processes']['value'] == 2

def test_only_the_first_process_writes_into_the_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv('ERA_RESULTS', str(tmp_path/'results'))
    for rank, written in (('1', False), ('0', True)):
        monkeypatch.setenv('RANK', rank)
        launch(settings('allreduce', epochs=1), out=str(tmp_path), device='cpu', record=True)
        assert (tmp_path/'results/foundations.cloud.json').exists() == written
