"Runs of `era` in processes that are forked from one that has imported what all of them need: half of a smoke run's time is the import of PyTorch."
import multiprocessing, os
from pathlib import Path
import pytest

IMPORTS = ['torch', 'torch._dynamo', # the first optimizer of a process imports it
           'sklearn.datasets', 'matplotlib.pyplot', 'numba', 'era_nbdev.core.cli', 'era_nbdev.foundations.learner']

def _command(words: list, env: dict, told: Path): # in the forked process
    os.environ.clear()
    os.environ.update(env)
    from era_nbdev.core.cli import main
    with told.open('w') as f:
        os.dup2(f.fileno(), 1)
        os.dup2(f.fileno(), 2)
    raise SystemExit(main(words))

def era(
    words: list, # of the command line, after `era`
    env: dict, # of the process
    told: Path, # file for what it prints
    timeout: float = 300, # seconds
) -> int: # exit status
    "What `era WORDS` does in a process of its own."
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(IMPORTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('OMP_NUM_THREADS', '1') # the first process is the parent of all others: PyTorch reads this when it is imported
        process = context.Process(target=_command, args=(words, env, told))
        process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f'era {" ".join(words)} took more than {timeout} s')
    return process.exitcode
