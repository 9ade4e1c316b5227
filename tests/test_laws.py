"The ladder of trainings in several processes, as on a GPU: no page starts them."
import os, signal, subprocess, sys, time
import pytest
from era_nbdev.core.run import Run
from killed import only_run

SMALL = '--scale smoke --widths 16 32 --lrs 3e-3 --steps-each 3 --judge 512 --device cpu'.split()
ERA = [sys.executable, '-m', 'era_nbdev.core.cli', 'run', 'mup']

def rows(run: Run) -> dict:
    return {name: {k: v for k, v in row.items() if k != 'seconds'} for name, row in run.load_state()['known'].items()}

def test_two_workers_find_what_one_finds(tmp_path):
    for workers in ('1', '2'):
        done = subprocess.run([*ERA, *SMALL, '--workers', workers, '--out', str(tmp_path/workers)], capture_output=True, text=True,
                              env=os.environ | dict(OMP_NUM_THREADS='1'))
        assert done.returncode == 0, done.stdout+done.stderr
    one, two = (rows(only_run(tmp_path/workers, 'mup')) for workers in ('1', '2'))
    assert len(one) == 4 and one == two

def test_workers_end_with_their_parent(tmp_path):
    psutil = pytest.importorskip('psutil')
    words = [*ERA, *SMALL, '--steps-each', '100000', '--workers', '2', '--out', str(tmp_path)]
    parent = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic()+240
        while len(workers := [o for o in psutil.Process(parent.pid).children(recursive=True) if 'spawn_main' in ' '.join(o.cmdline())]) < 2:
            assert parent.poll() is None and time.monotonic() < until, 'no two workers'
            time.sleep(.1)
    finally: parent.send_signal(signal.SIGKILL)
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=120)
    assert not alive
