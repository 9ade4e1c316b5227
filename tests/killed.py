"What tests of killed processes share: a run that waits after its n-th checkpoint, so that SIGKILL meets it in the middle however busy the machine is."
import os, signal, subprocess, time
from pathlib import Path
import pytest
from era_nbdev.core.run import Run

TESTS = Path(__file__).parent

def held(gate: Path, checkpoints: int = 3) -> dict:
    "The environment of a program that waits after so many checkpoints, until there is a file `go` in the new folder `gate`."
    gate.mkdir()
    places = [str(TESTS/'held'), str(TESTS.parent), os.environ.get('PYTHONPATH', '')]
    return dict(GATE=str(gate), GATE_CHECKPOINTS=str(checkpoints), PYTHONPATH=os.pathsep.join(filter(None, places)))

def wait_until_held(gate: Path, *processes: subprocess.Popen) -> None:
    "Return as soon as a program waits at `gate`; none of the processes may end before."
    until = time.monotonic()+300
    while not (gate/'held').exists():
        for process in processes:
            assert process.poll() is None, f'ended with {process.returncode} before its checkpoint: {process.stdout and process.stdout.read()}'
        assert time.monotonic() < until, 'no checkpoint in 300 s'
        time.sleep(.02)

def killed_alone(command: list, gate: Path, checkpoints: int = 3) -> None:
    "Start a program of one process, and kill it after so many checkpoints."
    env = os.environ | dict(OMP_NUM_THREADS='1') | held(gate, checkpoints)
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try: wait_until_held(gate, process)
    finally:
        process.kill()
        told, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, told

def only_run(out: Path, experiment: str) -> Run:
    "The only run of an experiment in `out`."
    folder, = (out/experiment).iterdir()
    return Run(folder)

def interrupted_at(out: Path, experiment: str) -> int:
    "The step of the only run in `out`, which must not be finished."
    run = only_run(out, experiment)
    assert not run.finished
    return run.load_state()['step']

def kill_a_worker(agent: subprocess.Popen, experiment: str) -> None:
    "Send SIGKILL to the process of rank 1."
    psutil = pytest.importorskip('psutil')
    workers = [p for p in psutil.Process(agent.pid).children() if experiment in p.cmdline()]
    assert len(workers) == 2, 'torchrun has not two workers'
    next(p for p in workers if p.environ()['RANK'] == '1').send_signal(signal.SIGKILL)

def killed_and_finished(command: list, out: Path, experiment: str, gate: Path, **how) -> tuple[str, Run]:
    "What torchrun printed, and the run, in whose middle one of two workers was killed; the processes must go on with it and end well."
    how['env'] = os.environ | dict(OMP_NUM_THREADS='1', GLOO_SOCKET_IFNAME='lo') | how.get('env', {}) | held(gate)
    agent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
    try:
        wait_until_held(gate, agent)
        step = interrupted_at(out, experiment)
        kill_a_worker(agent, experiment)
        (gate/'go').touch()
        told, _ = agent.communicate(timeout=400)
    finally:
        if agent.poll() is None:
            agent.kill()
            agent.communicate()
    assert agent.returncode == 0, told[-3000:]
    run = only_run(out, experiment)
    assert run.finished and 0 < step < run.load_state()['step'], f'killed at step {step}'
    return told, run
