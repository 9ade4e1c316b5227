"What tests of restarted processes share: kill a worker of `torchrun`, and wait for the end of the run."
import signal, subprocess, time
from pathlib import Path
import pytest

def kill_a_worker(agent: subprocess.Popen, out: Path, experiment: str) -> None:
    "Send SIGKILL to the process of rank 1 as soon as the run of `experiment` in `out` has a checkpoint."
    psutil = pytest.importorskip('psutil')
    until = time.monotonic()+300
    while not list(out.glob(f'{experiment}/*/state.pt')) and time.monotonic() < until:
        assert agent.poll() is None, agent.stdout.read()
        time.sleep(.02)
    workers = [p for p in psutil.Process(agent.pid).children() if experiment in p.cmdline()]
    assert len(workers) == 2, 'torchrun has not two workers'
    next(p for p in workers if p.environ()['RANK'] == '1').send_signal(signal.SIGKILL)

def killed_and_finished(agent: subprocess.Popen, out: Path, experiment: str) -> str:
    "What `agent` printed until its end, after one of its workers was killed; it must end well."
    try:
        kill_a_worker(agent, out, experiment)
        told, _ = agent.communicate(timeout=400)
    finally:
        if agent.poll() is None:
            agent.kill()
            agent.communicate()
    assert agent.returncode == 0, told[-3000:]
    return told
