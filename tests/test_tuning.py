"What no notebook cell can test of `era tune`: a kill and a second call, Ctrl-C, two processes at once, and bad options in one line."
import itertools, json, os, signal, sqlite3, subprocess, sys, time
from pathlib import Path
import pytest, torch
import era_nbdev
from conftest import refused
from era_nbdev.core.cli import main
from era_nbdev.foundations.callbacks import Track

pytest.importorskip('optuna')
HOME = str(Path(era_nbdev.__file__).parent.parent)
STUDY = ['tune', 'mnist', '--field', 'lr:1e-4..1e-1:log', '--field', 'bs:32,64', '--field', 'hidden:32', '--field', 'epochs:8', '--trials', '7', '--device', 'cpu']

@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

@pytest.fixture(autouse=True, scope='module')
def one_thread():
    n = torch.get_num_threads(); torch.set_num_threads(1); yield; torch.set_num_threads(n)

def start(at): # a fresh process
    env = {k: v for k, v in os.environ.items() if not k.startswith('ERA_')} | dict(OMP_NUM_THREADS='1', PYTHONUNBUFFERED='1', PYTHONPATH=HOME)
    return subprocess.Popen([sys.executable, '-m', 'era_nbdev.core.cli', *STUDY], cwd=at, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def until_trial(p, n): # read its output until trial n is finished
    for line in p.stdout:
        if line.startswith(f'trial {n}/'): return
    raise AssertionError(p.stderr.read())

def trials(at): # of the study under folder `at`: [(state, parameters)]
    with sqlite3.connect(at/'era_runs/tune/mnist/study.db') as db:
        states = db.execute('select trial_id, state from trials order by number').fetchall()
        params = db.execute('select trial_id, param_name, param_value from trial_params order by param_name').fetchall()
    return [(s, [(n, v) for j, n, v in params if j == i]) for i, s in states]

def finished(at): return [p for s, p in trials(at) if s in ('COMPLETE', 'PRUNED')]
def states(at): return [s for s, _ in trials(at)]

def stop_at(monkeypatch, step): # SIGINT in the midst of training, once
    real, steps = Track.after_step, itertools.count(1)
    def after_step(self, learn):
        if next(steps) == step: signal.raise_signal(signal.SIGINT)
        real(self, learn)
    monkeypatch.setattr(Track, 'after_step', after_step)

def test_killed_and_stopped_studies_equal_a_whole_one(tmp_path, monkeypatch, capsys):
    a, b = tmp_path/'a', tmp_path/'b'; a.mkdir(); b.mkdir()
    p = start(b); until_trial(p, 2); time.sleep(.1); p.kill(); p.wait()
    assert 2 <= len(finished(b)) < 7
    monkeypatch.chdir(b)
    with monkeypatch.context() as m:
        stop_at(m, 100)
        assert main(STUDY) == 130
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'of 7 trials are finished' in err and 'the same command goes on' in err
    assert 'RUNNING' not in states(b) and 2 <= len(finished(b)) < 7
    assert main(STUDY) == 0
    out = capsys.readouterr().out
    assert len(finished(b)) == 7 and not {'RUNNING', 'WAITING'} & set(states(b)) and states(b).count('FAIL') <= 2
    best = json.loads((b/'era_runs/tune/mnist/best.json').read_text())
    assert best['trials'] == 7 and f'best: {best["command"]}' in out
    monkeypatch.chdir(a); assert main(STUDY) == 0
    assert finished(a) == finished(b) and states(a).count('FAIL') == 0

def bad(capsys, words, *told):
    assert main(['tune', *words.split()]) == 2
    out, err = capsys.readouterr()
    refused(err, *told)
    assert not out and not Path('era_runs').exists()

@pytest.mark.parametrize('words, told', [
    ('mnist --field lr:1e-1..1e-4', ['0.1', 'not below', '0.0001']), ('mnist --field lr:0..1:log', ['lr:0..1:log', 'above 0']),
    ('mnist --field lr:1e-4..fast', ["'fast'", 'not a number']), ('mnist --field lr:-1..1', ['lr is -1.0', 'more than 0']),
    ('mnist --field lrr:1..2', ["'lrr'", "'lr'"]), ('mnist --field data:a..b', ['data:a..b', 'list its values']),
    ('mnist --field lr:1e-3..1 --field lr:1,2', ['lr is given twice']), ('mnist', ['empty', '--field']), ('mnist --field epochs:5', ['nothing to search']),
    ('mnist --field lr:1e-3..1 --timeout nan', ['timeout is nan']), ('mnist --field lr:1e-3..1 --timeout inf', ['timeout is inf']),
    ('mnist --field lr:1e-3..1 --valid nan', ['valid is nan']), ('mnist --field lr:nan..1', ['not a finite number']), ('mnist --field lr:1,inf', ['not a finite number']),
    ('mnist --field lr:1e-3..1 --trials 0', ['trials is 0']), ('mnist --field lr:1e-3..1 --trials x', ['x']), ('mnst --field lr:1e-3..1', ["'mnst'", "'mnist'"]),
    ('mnist --field lr:1e-3..1 --metric weight', ['larger weight', '--direction']), ('mnist --field lr:1e-3..1 --sampler gird', ['gird']),
    ('mnist --field lr:1e-3..1 --field bs:8,16,32 --sampler grid --trials 5', ['6 points', '5']), ('--field lr:1e-3..1', ['name comes first'])])
def test_bad_options(capsys, words, told): bad(capsys, words, *told)

SMALL = 'mnist --field lr:1e-3..1e-1:log --field epochs:1 --field hidden:8 --trials 1 --device cpu'

def test_another_plan_is_refused(capsys):
    assert main(['tune', *SMALL.split()]) == 0; capsys.readouterr()
    for words, told in ((SMALL.replace('1e-1', '1'), 'lr:0.001..1.0'), (SMALL+' --metric accuracy', "'valid_loss' there, 'accuracy' here"), (SMALL+' --seed 1', 'seed is 0 there, 1 here')):
        assert main(['tune', *words.split()]) == 2
        assert told in (err := capsys.readouterr().err) and '--study' in err and err.count('\n') == 1
    assert main(['tune', *SMALL.split(), '--metric', 'accuracy', '--study', 'other']) == 0

def test_misspelt_metric_does_not_block_the_study(capsys):
    assert main(['tune', *SMALL.split(), '--metric', 'valid_los', '--direction', 'minimize']) == 2
    assert "did you mean 'valid_loss'?" in capsys.readouterr().err
    assert main(['tune', *SMALL.split()]) == 0

def test_damaged_database_and_locked_study(capsys):
    from filelock import FileLock
    folder = Path('era_runs/tune/mnist'); folder.mkdir(parents=True)
    with FileLock(folder/'lock'):
        assert main(['tune', *SMALL.split()]) == 2
        assert 'another process' in capsys.readouterr().err
    (folder/'study.db').write_text('this is no database'*100)
    assert main(['tune', *SMALL.split()]) == 2
    assert 'study.db cannot be used' in (err := capsys.readouterr().err) and err.count('\n') == 1

def test_out_is_a_file(capsys):
    Path('file').write_text('')
    assert main(['tune', *SMALL.split(), '--out', 'file']) == 2
    assert 'cannot write to file' in capsys.readouterr().err

def test_help_names_the_experiments_and_the_options(capsys):
    assert main(['tune']) == 0 and 'mnist' in capsys.readouterr().out
    with pytest.raises(SystemExit) as e: main(['tune', 'mnist', '--help'])
    assert not e.value.code and '--pruner' in capsys.readouterr().out
