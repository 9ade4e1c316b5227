"What no notebook cell can test of the loop around language models: SIGKILL of a real process, and two processes of `torchrun`."
import sys
import pytest
import torch
from era_nbdev.core.cli import main
from era_nbdev.core.run import Run, launch, settings, to_resume
from killed import interrupted_at, killed_alone, killed_and_finished

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
SMALL = dict(steps=24, n_prompts=8, n_new=24, judge=8, save_every=2)
WORDS = [word for name, value in SMALL.items() for word in (f'--{name.replace("_", "-")}', str(value))]

def losses(run: Run) -> list[float]:
    return [row['loss'] for row in run.metrics('loss')]

@pytest.fixture(scope='module', autouse=True)
def one_thread():
    "The processes of these tests compute with one thread; sums in another order differ in their last bits."
    n = torch.get_num_threads(); torch.set_num_threads(1); yield; torch.set_num_threads(n)

@pytest.fixture(scope='module')
def whole(one_thread, tmp_path_factory) -> Run:
    "A run of one process that nobody disturbs."
    return launch(settings('reinforce_lm', **SMALL), out=str(tmp_path_factory.mktemp('whole')), device='cpu')

def test_killed_and_resumed_to_the_bit(tmp_path, whole):
    command = [sys.executable, '-m', 'era_nbdev.core.cli', 'run', 'reinforce_lm', *WORDS, '--device', 'cpu', '--out', str(tmp_path)]
    killed_alone(command, tmp_path/'gate')
    assert interrupted_at(tmp_path, 'reinforce_lm') == 3*SMALL['save_every']
    run = to_resume('reinforce_lm', str(tmp_path))
    launch(run.experiment(), run=run)
    assert losses(run) == losses(whole)
    numbers = 'win_rate', 'kl', 'nll', 'reward'
    assert [run.summary[name] for name in numbers] == [whole.summary[name] for name in numbers]

def test_two_processes_one_of_them_killed_equal_one(tmp_path, whole):
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '--max-restarts', '3']
    command = [*torchrun, '-m', 'era_nbdev.core.cli', 'run', 'reinforce_lm', *WORDS, '--device', 'cpu', '--out', str(tmp_path)]
    told, run = killed_and_finished(command, tmp_path, 'reinforce_lm', tmp_path/'gate')
    assert told.count('run: ') == 1
    assert len(losses(run)) == SMALL['steps']
    for name in ('loss', 'norm', 'reward', 'kl', 'length'):
        pairs = zip([row[name] for row in run.metrics('loss')], [row[name] for row in whole.metrics('loss')])
        assert max(abs(a-b)/max(1, abs(b)) for a, b in pairs) < 1e-4, name # a gradient's length is not near 1
    assert abs(run.summary['kl']-whole.summary['kl']) < 1e-3

@pytest.mark.parametrize('words, told', [
    (['--n-new', '200'], 'n_new is 200, expected 127 or less'), (['--reward', ''], 'reward is'),
    (['--policy', 'nowhere'], 'nowhere'), (['--lr', '-1'], 'lr'), (['--opening', 'a zebra'], 'zebra')])
def test_bad_settings_are_one_line(tmp_path, capsys, words, told):
    assert main(['run', 'reinforce_lm', *words, '--out', str(tmp_path)]) != 0
    err = capsys.readouterr().err
    assert told in err and len(err.strip().splitlines()) == 1, err
