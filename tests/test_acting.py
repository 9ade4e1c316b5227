"Agents that learn to act: a run that is killed goes on as if nothing had happened; `era watch` and its folders."
import os, signal, subprocess, sys, time
import pytest
import torch
from era_nbdev.core.cli import main
from era_nbdev.core.run import Run

pytest.importorskip('gymnasium')

# small runs of a few CPU seconds with many checkpoints, and the results that must not depend on the interruption
ACTING = dict(
    ppo=(['--n-steps', '12000', '--seeds', '2', '--episodes', '5'], ['mean_return', 'return_sd']),
    dqn=(['--n-steps', '4000', '--start', '500', '--explore', '2000', '--seeds', '2', '--episodes', '5', '--trials', '2',
          '--blocks', '40'], ['return', 'last', 'returns', 'largest']),
    continuous=(['--n-steps', '600', '--n-random', '100', '--seeds', '2', '--episodes', '5', '--bs', '32', '--every', '50',
                 '--save', '.1'],
                ['mean_return', 'sd', 'worst']))

# as `era`, with a checkpoint after every update of PPO
START = "import sys; import era_nbdev.rl.ppo as p; p.CHECKPOINT = 0.; from era_nbdev.core.cli import main; sys.exit(main(sys.argv[1:]))"

@pytest.fixture(scope='module', autouse=True)
def one_thread():
    "The processes of these tests compute with one thread; sums in another order differ in their last bits."
    n = torch.get_num_threads(); torch.set_num_threads(1); yield; torch.set_num_threads(n)

def run_of(out):
    dir, = (d for d in out.glob('*/*') if d.is_dir())
    return Run(dir)

def kill_after_checkpoints(argv, out, n=4, limit=240):
    "Starts a real process, waits until its checkpoint was written `n` times, and kills it."
    p = subprocess.Popen([sys.executable, '-c', START, *argv], env=os.environ | dict(OMP_NUM_THREADS='1'), stdout=subprocess.DEVNULL)
    seen, end = set(), time.monotonic()+limit
    while len(seen) < n and time.monotonic() < end and p.poll() is None:
        seen |= {f.stat().st_mtime_ns for f in out.glob('*/*/state.pt')}
        time.sleep(.005)
    p.kill()
    assert p.wait() == -signal.SIGKILL and len(seen) == n

@pytest.mark.parametrize('name', ACTING)
def test_killed_and_resumed(name, tmp_path, monkeypatch):
    "SIGKILL in the middle of learning: environments, memory, network, optimizer and generators go on where they were."
    settings, keys = ACTING[name]
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    argv = ['run', name, '--device', 'cpu', *settings, '--out']
    assert main([*argv, str(tmp_path/'straight')]) == 0
    kill_after_checkpoints([*argv, str(tmp_path/'killed')], tmp_path/'killed')
    killed = run_of(tmp_path/'killed')
    assert not killed.finished
    if name == 'continuous': # in the middle of a seed, so that the memory is part of what was saved
        assert 0 < len(killed.load_state()['going']['history']) < 12
    assert main(['run', name, '--resume', str(killed.dir)]) == 0
    straight = run_of(tmp_path/'straight').summary
    assert {key: Run(killed.dir).summary[key] for key in keys} == {key: straight[key] for key in keys}

def test_watch_names_what_is_missing(tmp_path, capsys):
    "No run, no folder for the film, another kind of file: each is one line, and no film is begun."
    assert main(['run', 'ppo', '--n-steps', '512', '--seeds', '1', '--episodes', '1', '--out', str(tmp_path)]) == 0
    run = str(run_of(tmp_path).dir)
    for argv, told in (([str(tmp_path/'nowhere')], 'nowhere'), ([run, '--out', str(tmp_path/'missing'/'a.webp')], 'is no folder'),
                       ([run, '--out', str(tmp_path/'a.mp4')], 'expected .webp or .gif')):
        assert main(['watch', *argv]) != 0
        err = capsys.readouterr().err
        assert told in err and err.count('\n') == 1 and 'Traceback' not in err
