"What a type checker says about all modules, and about a user's script, which also runs."
import os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT/'tests/typed_user.py'

def test_types():
    checked = [*sorted((ROOT/'era_nbdev').glob('*/*.py')), SCRIPT]
    command = [sys.executable, '-m', 'basedpyright', '--pythonpath', sys.executable, *map(str, checked)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert answer.returncode == 0, answer.stdout[-5000:]

def test_the_package_says_that_it_is_typed():
    assert (ROOT/'era_nbdev/py.typed').exists()
    assert "'py.typed'" in (ROOT/'setup.py').read_text()

def test_a_users_script_runs(tmp_path):
    away = dict(ERA_CACHE=str(tmp_path/'cache'), ERA_MIRROR='http://127.0.0.1:9')
    kept = {k: v for k, v in os.environ.items() if k != 'ERA_DATA'}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH', '')]))
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    env = kept | away | dict(PYTHONPATH=path, OMP_NUM_THREADS='1')
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr[-5000:]
    loss, n_characters, name, n_predictions = answer.stdout.split()[-4:]
    assert float(loss) < 2.3 and int(n_characters) > 0 and name and int(n_predictions) > 0
