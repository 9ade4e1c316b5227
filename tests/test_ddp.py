"What no notebook cell can test of data parallelism: a worker of `torchrun` that is killed, and processes that must not write twice."
import sys
from pathlib import Path
import pytest
from era_nbdev.core import ledger
from era_nbdev.core.run import Run, launch, settings
from killed import killed_and_finished

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
WORDS = ['--epochs', '6', '--save', '0', '--device', 'cpu']

def command(out: Path, *more: str) -> list[str]:
    "Two processes of `era run allreduce` under torchrun, which restarts them when one dies."
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '--max-restarts', '5']
    return [*torchrun, '-m', 'era_nbdev.core.cli', 'run', 'allreduce', *WORDS, '--out', str(out), *more]

def losses(run: Run) -> list[float]:
    return [row['loss'] for row in run.metrics('loss')]

def test_a_killed_worker_is_started_again_and_the_losses_stay(tmp_path):
    told, run = killed_and_finished(command(tmp_path, '--record'), tmp_path, 'allreduce', tmp_path/'gate',
                                    env=dict(ERA_RESULTS=str(tmp_path/'results')))
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
