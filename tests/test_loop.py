"What no notebook cell can test of the loop around language models: SIGKILL of a real process, and two processes of `torchrun`."
import os, subprocess, sys
import pytest
from era_nbdev.core.cli import main
from era_nbdev.core.run import Run
from killed import interrupted_at, killed_alone, killed_and_finished, only_run

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
SMALL = dict(steps=24, n_prompts=8, n_new=24, judge=8, save_every=2)
ERA = [sys.executable, '-m', 'era_nbdev.core.cli', 'run', 'reinforce_lm']

def words(**settings) -> list[str]:
    return [word for name, value in settings.items() for word in (f'--{name.replace("_", "-")}', str(value))]

def losses(run: Run) -> list[float]:
    return [row['loss'] for row in run.metrics('loss')]

def era_run(*more) -> None:
    "A run in a process of its own that computes with one thread: sums in another order differ in their last bits."
    done = subprocess.run([*ERA, *map(str, more), '--device', 'cpu'], env=os.environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout+done.stderr

@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Run:
    "A run that nobody disturbs. Numba's code rounds otherwise in the process that compiled it than where it is loaded from disk, so another run compiles before."
    out = tmp_path_factory.mktemp('whole')
    era_run(*words(**SMALL | dict(steps=1), out=out/'compiles'))
    era_run(*words(**SMALL, out=out/'whole'))
    return only_run(out/'whole', 'reinforce_lm')

def test_killed_and_resumed_to_the_bit(tmp_path, whole):
    killed_alone([*ERA, *words(**SMALL, out=tmp_path), '--device', 'cpu'], tmp_path/'gate')
    assert interrupted_at(tmp_path, 'reinforce_lm') == 3*SMALL['save_every']
    era_run(*words(resume=only_run(tmp_path, 'reinforce_lm').dir, out=tmp_path))
    run = only_run(tmp_path, 'reinforce_lm')
    assert losses(run) == losses(whole)
    numbers = 'win_rate', 'kl', 'nll', 'reward'
    assert [run.summary[name] for name in numbers] == [whole.summary[name] for name in numbers]

def test_two_processes_one_of_them_killed_equal_one(tmp_path, whole):
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '--max-restarts', '3']
    command = [*torchrun, *ERA[1:], *words(**SMALL, out=tmp_path), '--device', 'cpu']
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
