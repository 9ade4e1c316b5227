"What no notebook cell can test: the installed command, signals, kills, full disks, resuming, downloads, trackers, no network."
import gzip, hashlib, json, multiprocessing, os, random, re, resource, shutil, signal, sqlite3, struct, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import pytest, torch
import era_nbdev
from conftest import refused
from era_nbdev.core import data, run as runs
from era_nbdev.core.cli import candidates, main
from era_nbdev.core.data import DataError, Dataset, REGISTRY, fetch, find, load, verify
from era_nbdev.core.run import CheckpointError, Run, RunError, open_run

HOME = str(Path(era_nbdev.__file__).parent.parent)
REAL, CACHE = os.environ.get('ERA_DATA') and str(Path(os.environ['ERA_DATA']).resolve()), str(data.cache_dir().resolve())
SLOW = ['run', 'mnist', '--epochs', '40', '--accumulate', '2', '--ema', '0.99'] # 12 steps an epoch, 480 in all
PYTHON = [sys.executable, '-m', 'era_nbdev.core.cli']

def clean_env(at):
    "The environment without the user's own settings: no data, an empty cache, no keys."
    own = ('ERA_', 'WANDB_', 'MLFLOW_'); drop = 'PYTHONDONTWRITEBYTECODE', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'
    kept = {k: v for k, v in os.environ.items() if not k.startswith(own) and k.upper() not in drop}
    return kept | dict(ERA_CACHE=str(at/'cache'), HOME=str(at), OMP_NUM_THREADS='1', NO_PROXY='*',
                       PYTHONPATH=os.pathsep.join([HOME, os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep))

@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    "Each test has its own working folder and the clean environment."
    monkeypatch.chdir(tmp_path); (tmp_path/'cache').mkdir()
    env = clean_env(tmp_path)
    for k in set(os.environ)-set(env): monkeypatch.delenv(k)
    for k, v in env.items(): monkeypatch.setenv(k, v)

@pytest.fixture(autouse=True, scope='module')
def one_thread():
    n = torch.get_num_threads(); torch.set_num_threads(1); yield; torch.set_num_threads(n)

# ---- helpers: a fresh process, a forked process, a bad command

def process(at, *argv, prefix=(), command=PYTHON):
    "(status, stdout, stderr, usage) of a fresh process."
    with open(at/'stderr', 'w+') as err:
        p = subprocess.Popen([*prefix, *command, *argv], cwd=at, env=clean_env(at), stdout=subprocess.PIPE, stderr=err, text=True)
        out = p.stdout.read(); p.stdout.close()
        _, status, usage = os.wait4(p.pid, 0); p.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0); return p.returncode, out, err.read(), usage

# Linux counts the memory of the process that forked into the peak of the new one: a small one in between, which forks the measured one.
MEASURE = "import resource, subprocess, sys; c = subprocess.call(sys.argv[1:]); open('peak', 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(c)"

def child(at, argv, env, slow, every, die, fsize):
    "In a process of its own: `main(argv)`; slower, with more checkpoints, dying at the n-th rename, or with a limit on the size of files."
    os.environ.clear(); os.environ.update(env); os.chdir(at)
    for fd, f in ((1, 'stdout'), (2, 'stderr')): os.dup2(os.open(f'{f}.{os.getpid()}', os.O_CREAT | os.O_WRONLY), fd)
    from era_nbdev.foundations.callbacks import Track
    step, replace, count = Track.after_step, os.replace, iter(range(1, 10**6))
    def later(self, learn): time.sleep(slow); step(self, learn)
    def dying(a, b):
        if next(count) == die: os.kill(os.getpid(), signal.SIGKILL)
        replace(a, b)
    if slow: Track.after_step = later
    if every: Track.__init__.__defaults__ = (1, every)
    if die: os.replace = dying
    if fsize: resource.setrlimit(resource.RLIMIT_FSIZE, (fsize, fsize))
    torch.set_num_threads(1)
    raise SystemExit(main(argv))

@pytest.fixture(scope='module')
def fork():
    "Starts `child` as a real process, without the seconds that importing torch takes."
    ctx, started = multiprocessing.get_context('forkserver'), []
    ctx.set_forkserver_preload(['era_nbdev.foundations.mnist', 'torch._dynamo', 'sklearn.datasets', 'sklearn.model_selection',
        'safetensors.torch', 'tyro'])
    os.environ['PYTHONPATH'] = clean_env(Path())['PYTHONPATH']
    def start(at, argv, slow=0., every=0., die=0, fsize=0):
        p = ctx.Process(target=child, args=(at, argv, clean_env(at), slow, every, die, fsize), daemon=True); p.start(); started.append(p)
        return p
    yield start
    for p in started: p.kill(); p.join()

def wait(p, at, seconds=60):
    "(status, stdout, stderr) of a forked process; the status is negative for a signal."
    p.join(seconds); assert p.exitcode is not None, 'the process does not end'
    return p.exitcode, *((at/f'{f}.{p.pid}').read_text() for f in ('stdout', 'stderr'))

def until(f, seconds=60):
    "Wait for `f()` to be true."
    end = time.monotonic()+seconds
    while not f(): assert time.monotonic() < end, 'nothing happens'; time.sleep(.002)

def folders(at): return sorted((at/'era_runs'/'mnist').glob('*'))
def lines(at): return sum((d/'metrics.jsonl').read_bytes().count(b'\n') for d in folders(at) if (d/'metrics.jsonl').exists())
def losses(dir): return [(o['step'], o['loss'], o['lr']) for o in Run(dir).metrics('loss')]
def one_error(err, *words):
    "`err` is one line for a person, with `words` in it."
    assert err.startswith('era: ') and err.endswith('\n') and err.count('\n') == 1, err
    assert 'Traceback' not in err and '│' not in err and '---' not in err and len(err) < 500, err
    for w in words: assert w in err, (w, err)

def bad(capsys, argv, *words):
    "The command ends with status 2 and one line."
    capsys.readouterr()
    status = main(argv.split() if isinstance(argv, str) else argv)
    err = capsys.readouterr().err
    assert status == 2, (status, err)
    refused(err, *words)

def stop_at(monkeypatch, at, *sigs):
    "Send `sigs` to this process after step `at`."
    from era_nbdev.foundations.callbacks import Track
    real = Track.after_step
    def hooked(self, learn):
        if learn.step == at:
            for s in sigs: signal.raise_signal(s)
        real(self, learn)
    monkeypatch.setattr(Track, 'after_step', hooked)

# ---- runs that many tests share

@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    "The main job in a fresh process, without a network where the kernel allows that: (folder, status, stdout, stderr, usage)."
    at = tmp_path_factory.mktemp('smoke')
    off = next((o for o in (['unshare', '-n'], ['unshare', '-rn']) if shutil.which('unshare') and not subprocess.run([*o, 'true'],
        capture_output=True).returncode), [])
    return at, *process(at, 'run', 'mnist', prefix=[*off, sys.executable, '-c', MEASURE])

@pytest.fixture(scope='module')
def done(smoke): return folders(smoke[0])[0]

@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    "The losses of `SLOW` without an interruption."
    at = tmp_path_factory.mktemp('straight'); assert main([*SLOW, '--out', str(at/'era_runs')]) == 0
    return losses(folders(at)[0])

@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    "The folder of a run of `SLOW` that was stopped at step 101, in the middle of an epoch."
    at = tmp_path_factory.mktemp('stopped')
    with pytest.MonkeyPatch.context() as m: stop_at(m, 101, signal.SIGINT); assert main([*SLOW, '--out', str(at/'era_runs')]) == 130
    return folders(at)[0]

@pytest.fixture
def copy(stopped, tmp_path):
    "A copy of `stopped` in this test's own runs."
    return Path(shutil.copytree(stopped, tmp_path/'era_runs'/'mnist'/stopped.name))

# ---- the command

def test_main_job(smoke, done):
    at, status, out, err, usage = smoke
    assert status == 0 and not err, err
    s = json.loads((done/'summary.json').read_text())
    assert s['accuracy'] >= .97 and s['cpu_seconds'] > 0, s
    peak = int((at/'peak').read_text())*(1 if sys.platform == 'darwin' else 1024)/2**20
    print(f'accuracy {s["accuracy"]:.4f}, {s["cpu_seconds"]} s of CPU after imports, '
          f'{usage.ru_utime+usage.ru_stime:.1f} s in all, {peak:.0f} MB')
    assert 200 < s['memory'] <= peak < 1500
    assert re.search(r'^run: era_runs/mnist/\d{8}-\d{6}-', out, re.M) and f'era serve mnist --run era_runs/mnist/{done.name}' in out
    assert {'config.json', 'metrics.jsonl', 'checkpoint.safetensors', 'state.pt', 'summary.json'} <= {f.name for f in done.iterdir()}
    assert not [f for f in done.iterdir() if f.name.startswith('.')]
    config = json.loads((done/'config.json').read_text())
    assert (config['experiment'], config['scale'], config['seed'], config['command']) == ('mnist', 'smoke', 0, 'era run mnist')
    assert str(at) not in (done/'config.json').read_text()
    assert len(losses(done)) == 40*23 and len(Run(done).metrics('accuracy')) == 40

def test_opened_by_its_folder_in_a_fresh_process(smoke, done):
    code = ('import sys, torch; from era_nbdev.core.run import open_run; from era_nbdev.core.data import load; d = load("digits")\n'
            'p = open_run(sys.argv[1]).predict(d.x_test); print(tuple(p.shape), (p.argmax(1) == d.y_test).float().mean().item())')
    status, out, err, _ = process(smoke[0], os.path.relpath(done, smoke[0]), command=[sys.executable, '-c', code])
    assert status == 0, err
    shape, accuracy = re.match(r'(\(.*\)) ([\d.]+)', out).groups()
    assert shape == '(360, 10)' and abs(float(accuracy)-Run(done).summary['accuracy']) < 1e-6

def test_latest_run_by_name(done, capsys):
    run = open_run('mnist', out=done.parent.parent)
    assert run.dir == done and run.finished and torch.equal(run.predict(load('digits').x_test[:3]).argmax(1), load('digits').y_test[:3])

@pytest.mark.parametrize('argv,words', [('list', 'foundations.mnist'), ('data list', 'fashion_mnist'), ('data path digits', 'installed'),
    ('data verify digits', 'as they should be'),
    ('results', ''), ('parity', 'check'), ('doctor', 'torch'), ('--help', 'usage: era'), ('', 'usage: era'), ('run', 'mnist'),
        ('--version', era_nbdev.__version__), ('completion bash', 'complete')])
def test_works(capsys, argv, words):
    assert main(argv.split()) == 0
    out = capsys.readouterr()
    assert words in out.out and not out.err

def test_help_of_a_run(capsys):
    with pytest.raises(SystemExit) as e: main(['run', 'mnist', '--scale', 'lesson', '--help'])
    out = capsys.readouterr().out
    assert not e.value.code and all(o in out for o in ('--label-smoothing', '--weight-decay', '--resume', '--track', 'passes through',
        '12'))

def test_completion():
    assert {'run', 'data', 'serve',
        'completion'} <= set(candidates([])) and 'mnist' in candidates(['run']) and 'mnist' in candidates(['serve'])
    assert {'--lr', '--weight-decay', '--resume', '--track'} <= set(candidates(['run', 'mnist'])) and 'verify' in candidates(['data'])
    assert candidates(['run', 'mnist', '--scale']) == ['smoke', 'lesson', 'full']

def test_record(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('ERA_RESULTS', str(tmp_path/'ledger'))
    assert main('run mnist --epochs 1 --seed 3 --record'.split()) == 0
    entry, = json.loads((tmp_path/'ledger'/'foundations.mnist.json').read_text())
    assert entry['command'] == 'era run mnist --seed 3 --epochs 1'
    assert entry['metrics']['accuracy']['value'] > .5 and entry['versions']['torch']
    assert str(tmp_path) not in json.dumps(entry)
    capsys.readouterr(); assert main(['results']) == 0 and 'era run mnist --seed 3' in capsys.readouterr().out

def test_installed_command(tmp_path):
    era = shutil.which('era', path=str(Path(sys.executable).parent))
    if not era: pytest.skip('the command era is not installed beside this Python')
    assert process(tmp_path, '--version', command=[era])[:3] == (0, era_nbdev.__version__+'\n', '')
    status, out, err, _ = process(tmp_path, 'rnu', command=[era]); assert (status, out) == (2, ''); one_error(err, "'rnu'", "'run'")

@pytest.mark.parametrize('code,limit', [('import era_nbdev', .1), ('from era_nbdev.core.cli import main; main(["--help"])', .3)])
def test_starts_fast_without_torch(tmp_path, code, limit):
    status, out, err, _ = process(tmp_path, command=[sys.executable, '-c',
        code+'; import sys; print([m for m in ("torch", "numpy") if m in sys.modules])'])
    assert status == 0 and out.endswith('[]\n'), out+err
    best = min((u := process(tmp_path, command=[sys.executable, '-c', code])[3]).ru_utime+u.ru_stime for _ in range(5))
    print(f'{code}: {best:.3f} s of CPU, goal {limit}')
    assert best <= 2*limit

def test_closed_pipe(tmp_path):
    p = subprocess.Popen([*PYTHON, 'data', 'list'], cwd=tmp_path, env=clean_env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.close(); err = p.stderr.read(); p.stderr.close()
    assert b'Traceback' not in err and b'era:' not in err and p.wait(60) in (0, 1, 141), err

def test_debug_shows_the_traceback(tmp_path):
    status, _, err, _ = process(tmp_path, 'run', 'mnits', '--debug')
    assert status == 1 and 'Traceback' in err and "did you mean 'mnist'" in err
    status, _, err, _ = process(tmp_path, 'run', 'mnits'); assert status == 2; one_error(err, "'mnits'", "'mnist'")

# ---- bad input

@pytest.mark.parametrize('argv,words', [
    ('rnu mnist', ["'rnu'", "'run'"]), ('run mnits', ["'mnits'", "'mnist'"]), ('run zzz', ["'zzz'", 'era list']), ('run --scale lesson mnist',
        ['name comes first']),
    ('run mnist --epoch 3', ['--epoch', '--epochs']), ('run mnist --weightdecay 3', ['--weightdecay', '--weight-decay']),
    ('run mnist --scale lessn', ['lessn', 'lesson']), ('run mnist --scale=big', ['big', 'smoke']), ('run mnist --track comet', ['comet',
        'mlflow']),
    ('run mnist --data fashion', ['fashion', 'fashion_mnist']), ('run mnist --precision fp8', ['fp8', 'bf16']), ('run mnist stray',
        ['stray']),
    ('run mnist --epochs many', ['--epochs', "'many'"]), ('run mnist --epochs 1.5', ['--epochs', "'1.5'"]), ('run mnist --lr fast',
        ['--lr', "'fast'"]),
    ('run mnist --lr', ['--lr']), ('run mnist --hidden wide', ['--hidden', 'wide']), ('run mnist --lr -1', ['lr is -1.0', 'more than 0']),
    ('run mnist --lr nan', ['lr is nan']), ('run mnist --lr inf', ['lr is inf']), ('run mnist --epochs 0', ['epochs is 0', '1 or more']),
    ('run mnist --bs 0', ['bs is 0', '1 or more']), ('run mnist --dropout 1.5', ['dropout is 1.5', '[0, 1)']),
        ('run mnist --label-smoothing 1', ['label_smoothing is 1.0']),
    ('run mnist --hidden 0', ['hidden is (0,)']), ('run mnist --accumulate 0', ['accumulate is 0']), ('run mnist --ema 1', ['ema is 1.0']),
    ('run mnist --clip -1', ['clip is -1.0']), ('run mnist --weight-decay -1', ['weight_decay is -1.0']), ('run mnist --seed -1',
        ['seed is -1', 'expected 0']),
    ('run mnist --device tpu', ["'tpu'", 'there is cpu']), ('run mnist --record --epochs 1', ['ERA_RESULTS']), ('run mnist --resume',
        ['no unfinished run', "'mnist'"]),
    ('run mnist --resume nowhere', ["'nowhere'"]), ('run mnist --resume ./nowhere', ['nowhere is not the folder of a run']),
    ('data', ['list,get,path,verify']), ('data grab', ["'grab'", 'verify']), ('data get', ['needs the name']), ('data get mnits',
        ["'mnits'", "'mnist'"]),
    ('data verify mnist', ['missing', 'era data get mnist']), ('list extra', ['extra']), ('completion fish', ["'fish'", 'zsh']),
        ('bench lerner', ["'lerner'", "'learner'"]),
    ('bench learner --rounds 0', ['rounds is 0']), ('serve mnits', ["'mnits'", "'mnist'"]), ('serve mnist', ['no finished run',
        'era run mnist']),
    ('serve mnist --port 99999', ['99999', '65535']), ('serve mnist --port x', ['--port', "'x'"]), ('serve mnist --run ./nowhere',
        ['nowhere is not the folder'])])
def test_bad(capsys, tmp_path, argv, words):
    bad(capsys, argv, *words)
    assert not folders(tmp_path), 'a refused run leaves no folder'

def test_seed_too_large(capsys): bad(capsys, 'run mnist --epochs 1 --seed 99999999999999999999', 'seed', '99999999999999999999')

def test_plain_terminal(tmp_path):
    "A terminal that knows only ASCII gets the same message."
    code = 'import io, sys; sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "ascii"); ' \
           'from era_nbdev.core.cli import main; raise SystemExit(main())'
    status, _, err, _ = process(tmp_path, 'data', 'grab', command=[sys.executable, '-c', code])
    assert status == 2; refused(err, "'grab'", 'verify')

def test_batch_larger_than_the_data(capsys):
    assert main('run mnist --bs 100000 --epochs 1'.split()) == 0
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and '100000' in err and '1437' in err

@pytest.mark.parametrize('track', ['wandb', 'mlflow'])
def test_missing_extra(capsys, monkeypatch, track):
    monkeypatch.setitem(sys.modules, track, None)
    bad(capsys, f'run mnist --epochs 1 --track {track}', f'{track} is not installed', "pip install 'era_nbdev[track]'")

@pytest.mark.parametrize('mirror', [None, 'http://127.0.0.1:9'])
def test_no_data_and_no_network(capsys, monkeypatch, tmp_path, mirror):
    import socket
    def refuse(self, address): raise ConnectionRefusedError(111, 'the network is off')
    if mirror: monkeypatch.setenv('ERA_MIRROR', mirror)
    monkeypatch.setattr(socket.socket, 'connect', refuse); monkeypatch.setattr(time, 'sleep', lambda s: None)
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *a, **k: [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', 9))])
    bad(capsys, 'run mnist --data mnist', "'mnist'", 'no connection', 'ERA_DATA', "'digits'")
    bad(capsys, 'data get names', "'names'", 'no connection', 'ERA_DATA', "'pydocs'")
    bad(capsys, 'data path cifar10', "'cifar10'", *([] if mirror else ['no address']), 'ERA_DATA')
    assert not [f for f in (tmp_path/'cache').rglob('*') if f.is_file()]

@pytest.mark.parametrize('out', ['file', 'file/deeper', 'half'])
def test_output_folder_is_a_file(capsys, tmp_path, out):
    (tmp_path/'file').write_text('mine'); (tmp_path/'half').mkdir(); (tmp_path/'half'/'mnist').write_text('mine')
    bad(capsys, f'run mnist --epochs 1 --out {out}', out, '--out')
    assert (tmp_path/'file').read_text() == (tmp_path/'half'/'mnist').read_text() == 'mine'

def test_output_folder_read_only(capsys, tmp_path):
    if os.getuid() == 0 and not Path('/proc/self').exists(): pytest.skip('root may write everywhere')
    (tmp_path/'ro').mkdir(mode=0o555)
    out = '/proc/era' if os.getuid() == 0 else 'ro'
    bad(capsys, f'run mnist --epochs 1 --out {out}', f'cannot write to {out}', '--out')

def test_loss_is_not_a_number(capsys, tmp_path):
    bad(capsys, 'run mnist --lr 1e30 --epochs 2', 'nan', 'at step 2', 'lower lr', 'checkpoint')
    assert not (folders(tmp_path)[0]/'summary.json').exists()

def test_loss_is_not_a_number_after_a_checkpoint(capsys, tmp_path, monkeypatch):
    from era_nbdev.foundations import callbacks, learner
    monkeypatch.setattr(callbacks.Track.__init__, '__defaults__', (1, 0.))
    real, count = learner.Learner.autocast, iter(range(10**6))
    def broken(self): # the weights become infinite in the seventh step
        if next(count) == 7:
            with torch.no_grad(): next(self.model.parameters()).fill_(float('inf'))
        return real(self)
    monkeypatch.setattr(learner.Learner, 'autocast', broken)
    bad(capsys, 'run mnist --epochs 2', 'at step 8', 'checkpoint', 'step 7', str(folders(tmp_path)[0].name) if folders(tmp_path) else '')
    run = Run(folders(tmp_path)[0])
    assert run.load_state()['step'] == 7 and all(v.isfinite().all() for v in run.load_state()['model'].values())

# ---- checkpoints that are damaged or belong to something else

def damage(f, how):
    raw = f.read_bytes()
    if how == 'cut': f.write_bytes(raw[:len(raw)//2])
    if how == 'empty': f.write_bytes(b'')
    if how == 'noise': f.write_bytes(random.Random(0).randbytes(len(raw)))
    if how == 'gone': f.unlink()
    if how == 'foreign': torch.save(dict(weights=torch.ones(3)), f)
    if how == 'list': torch.save([1, 2], f)
    if how == 'other': torch.save(torch.load(f, weights_only=True) | dict(experiment='gpt'), f)
    if how == 'code': torch.save(dict(experiment=Path('mnist')), f)
    if how == 'plan': torch.save(torch.load(f, weights_only=True) | dict(total=7), f)
    if how == 'half':
        state = torch.load(f, weights_only=True); del state['opt']; torch.save(state, f)
    if how == 'shape':
        state = torch.load(f, weights_only=True); state['model'] = {k: torch.ones(3) for k in state['model']}; torch.save(state, f)

@pytest.mark.parametrize('how', ['cut', 'empty', 'noise', 'gone', 'foreign', 'list', 'other', 'code', 'plan', 'half', 'shape'])
def test_resume_from_a_bad_checkpoint(capsys, copy, how):
    before = (copy/'metrics.jsonl').read_bytes(); damage(copy/'state.pt', how)
    bad(capsys, ['run', 'mnist', '--resume', str(copy)], *(['checkpoint'] if how in ('plan', 'half', 'shape') else [copy.name]))
    assert (copy/'metrics.jsonl').read_bytes() == before

@pytest.mark.parametrize('how', ['cut', 'empty', 'noise', 'gone', 'foreign', 'other model'])
def test_serve_a_bad_checkpoint(capsys, done, tmp_path, how):
    dir = Path(shutil.copytree(done, tmp_path/'run')); f = dir/'checkpoint.safetensors'
    if how == 'other model': from safetensors.torch import save_file; save_file(dict(a=torch.ones(2)), f)
    else: damage(f, how)
    bad(capsys, ['serve', 'mnist', '--run', str(dir)], 'checkpoint.safetensors')
    with pytest.raises(CheckpointError, match='checkpoint.safetensors'): open_run(dir).predict(load('digits').x_test[:1])

@pytest.mark.parametrize('text', ['', '{"experiment": "mnist", "dev', '[]', '{}', '{"experiment": "gpt9", "device": "cpu", "settings": {}}',
                                  '{"experiment": "mnist", "device": "cpu", "settings": {"colour": 1}, "scale": "smoke", "seed": 0}'])
def test_bad_config(capsys, done, copy, text):
    (copy/'config.json').write_text(text); (copy/'summary.json').write_text('{}')
    bad(capsys, ['serve', 'mnist', '--run', str(copy)])
    (copy/'summary.json').unlink(); bad(capsys, ['run', 'mnist', '--resume', str(copy)])

def test_resume_with_other_settings(capsys, copy):
    bad(capsys, 'run mnist --resume --lr 0.1', 'lr is 0.005 there, 0.1 here')
    bad(capsys, 'run mnist --resume --epochs 7 --seed 4 --hidden 32 16', 'epochs is 40 there, 7 here', 'seed is 0 there, 4 here',
        'hidden is [256, 128] there, [32, 16] here')
    bad(capsys, f'run mnist --resume era_runs/mnist/{copy.name} --scale lesson', "scale is 'smoke' there, 'lesson' here")
    assert Run(copy).load_state()['step'] == 101

def test_resume_a_finished_run(capsys, done):
    bad(capsys, ['run', 'mnist', '--resume', str(done)], str(done), 'is finished')

def test_resume_passes_over_runs_that_cannot_go_on(capsys, copy):
    "A run that was refused before its first checkpoint does not hide the one that can go on."
    later = copy.with_name('99990101-000000-0000'); later.mkdir(); shutil.copy(copy/'config.json', later)
    assert main(['run', 'mnist', '--resume']) == 0 and Run(copy).finished

@pytest.mark.parametrize('fsize', [300_000, 20_000])
def test_disk_full(fork, copy, tmp_path, straight, fsize):
    "300 kB stops the checkpoint, 20 kB the metrics; the earlier checkpoint stays and the run goes on once there is room."
    before = {f: (copy/f).read_bytes() for f in ('state.pt', 'checkpoint.safetensors')}
    status, _, err = wait(fork(tmp_path, ['run', 'mnist', '--resume'], fsize=fsize), tmp_path)
    assert status == 2; one_error(err, copy.name, *(['checkpoint', 'earlier one is kept'] if fsize > 100_000 else []))
    assert before == {f: (copy/f).read_bytes() for f in before} and not [f for f in copy.iterdir() if f.name.startswith('.')]
    assert Run(copy).load_state()['step'] == 101 and Run(copy).predict(load('digits').x_test[:2]).shape == (2, 10)
    assert main(['run', 'mnist', '--resume']) == 0 and losses(copy) == straight

def test_disk_full_at_the_first_checkpoint(fork, tmp_path):
    status, _, err = wait(fork(tmp_path, ['run', 'mnist', '--epochs', '1'], fsize=100_000), tmp_path)
    assert status == 2; one_error(err, 'cannot write', folders(tmp_path)[0].name)
    assert {f.name for f in folders(tmp_path)[0].iterdir()} == {'config.json', 'data.json', 'images.json', 'metrics.jsonl'}

# ---- signals and kills

@pytest.mark.parametrize('sig,flag', [(signal.SIGINT, 'bare'), (signal.SIGTERM, 'folder'), (signal.SIGHUP, 'folder')])
def test_signal(fork, tmp_path, straight, sig, flag):
    p = fork(tmp_path, SLOW, slow=.01); until(lambda: lines(tmp_path) >= 50); os.kill(p.pid, sig)
    status, out, err = wait(p, tmp_path)
    dir, = folders(tmp_path)
    assert status == 128+sig; one_error(err, 'step', '480', '--resume')
    assert 40 <= Run(dir).load_state()['step'] < 480 and not Run(dir).finished
    Run(dir).predict(load('digits').x_test[:1])
    again = re.search(r'era (run mnist --resume(?: \S+)?)', err)[1].strip("'").split() # what the message says
    assert again[:3] == ['run', 'mnist', '--resume']
    os.chdir(tmp_path); assert main(['run', 'mnist', '--resume'] if flag == 'bare' else ['run', 'mnist', '--resume',
        f'era_runs/mnist/{dir.name}']) == 0
    assert folders(tmp_path) == [dir] and Run(dir).finished and losses(dir) == straight

def test_what_the_message_says_works(capsys, monkeypatch, tmp_path):
    stop_at(monkeypatch, 30, signal.SIGINT)
    assert main('run mnist --epochs 3 --out elsewhere'.split()) == 130
    err = capsys.readouterr().err; one_error(err, '--resume')
    again = re.search(r"era (run mnist [^'\n]*)", err)[1].split()
    assert main(again) == 0 and Run(next((tmp_path/'elsewhere'/'mnist').iterdir())).finished

@pytest.mark.parametrize('step', [1, 131, 240])
def test_resumed_losses_are_the_same_to_the_last_bit(monkeypatch, tmp_path, straight, step):
    "In the first step, in the middle of an epoch, at the end of one; stopped twice; with accumulation and averaged weights."
    with monkeypatch.context() as m: stop_at(m, step, signal.SIGTERM); assert main(SLOW) == 143
    dir, = folders(tmp_path); assert Run(dir).load_state()['step'] == step and [o[0] for o in losses(dir)] == list(range(1, step+1))
    with monkeypatch.context() as m: stop_at(m, step+5, signal.SIGINT); assert main(['run', 'mnist', '--resume']) == 130
    assert main(['run', 'mnist', '--resume']) == 0
    assert folders(tmp_path) == [dir] and losses(dir) == straight

def test_second_signal_stops_at_once(capsys, monkeypatch, copy):
    before = (copy/'state.pt').read_bytes()
    stop_at(monkeypatch, 200, signal.SIGINT, signal.SIGINT)
    assert main(['run', 'mnist', '--resume']) == 130; one_error(capsys.readouterr().err)
    assert (copy/'state.pt').read_bytes() == before and signal.getsignal(signal.SIGINT) is signal.default_int_handler

def test_signal_before_training(tmp_path, fork):
    "Outside of the loop a signal ends the run at once, without a traceback."
    p = fork(tmp_path, ['run', 'mnist', '--epochs', '100000']); until(lambda: folders(tmp_path)); os.kill(p.pid, signal.SIGINT)
    status, _, err = wait(p, tmp_path)
    assert status == 130; one_error(err)

@pytest.mark.parametrize('n', [0, 1, 2])
def test_killed(fork, tmp_path, straight, n):
    "SIGKILL at any moment: the folder can be read, its checkpoint loads, and the run goes on from it."
    p = fork(tmp_path, SLOW, slow=.005, every=.02); rng = random.Random(n)
    until(lambda: lines(tmp_path) >= 30+60*n); time.sleep(rng.random()*.05); p.kill(); p.join()
    assert p.exitcode == -signal.SIGKILL
    dir, = folders(tmp_path); run = Run(dir)
    assert not run.finished and run.metrics('loss') and run.load_state()['step'] > 0
    assert run.predict(load('digits').x_test[:2]).shape == (2, 10)
    assert main(['run', 'mnist', '--resume']) == 0 and losses(dir) == straight

@pytest.mark.parametrize('die', [7, 8])
def test_killed_while_writing_a_checkpoint(fork, tmp_path, straight, die):
    "Renames: configuration, the data's checksum, facts of the images, metrics, then state and model in turn. Died before the second state, or between it and its model."
    p = fork(tmp_path, SLOW, every=.01, die=die); p.join(60); assert p.exitcode == -signal.SIGKILL
    dir, = folders(tmp_path)
    assert Run(dir).load_state()['step'] > 0 and Run(dir).predict(load('digits').x_test[:2]).shape == (2, 10)
    assert main(['run', 'mnist', '--resume']) == 0 and losses(dir) == straight

def test_killed_before_the_first_checkpoint(capsys, fork, tmp_path):
    p = fork(tmp_path, SLOW, slow=.01); until(lambda: lines(tmp_path) >= 5); p.kill(); p.join()
    bad(capsys, ['run', 'mnist', '--resume', str(folders(tmp_path)[0])], 'before its first checkpoint')

def test_torn_last_line_of_metrics(copy, straight):
    with open(copy/'metrics.jsonl', 'a') as f: f.write('{"step": 102, "lo')
    assert [o[0] for o in losses(copy)] == list(range(1, 102))
    assert main(['run', 'mnist', '--resume']) == 0 and losses(copy) == straight

def test_two_runs_in_the_same_second(fork, tmp_path):
    ps = [fork(tmp_path, ['run', 'mnist', '--epochs', '1', '--seed', str(s)]) for s in (1, 2)]
    assert [wait(p, tmp_path)[0] for p in ps] == [0, 0]
    assert sorted(Run(d).config['seed'] for d in folders(tmp_path)) == [1, 2] and all(Run(d).finished for d in folders(tmp_path))

def test_same_name_is_taken(monkeypatch):
    ids = iter(['aaaa', 'aaaa', 'aaaa', 'bbbb'])
    monkeypatch.setattr(runs.secrets, 'token_hex', lambda n: next(ids))
    class Clock(runs.datetime.datetime):
        @classmethod
        def now(cls, tz=None): return cls(2026, 1, 1, tzinfo=tz)
    monkeypatch.setattr(runs.datetime, 'datetime', Clock)
    a, b = (runs.create(runs.settings('mnist'), device='cpu').dir.name for _ in range(2))
    assert (a, b) == ('20260101-000000-aaaa', '20260101-000000-bbbb')

# ---- trackers

def test_wandb_offline(fork, tmp_path):
    pytest.importorskip('wandb', reason='wandb is not installed')
    status, out, err = wait(fork(tmp_path, ['run', 'mnist', '--epochs', '2', '--track', 'wandb']), tmp_path)
    dir, = folders(tmp_path)
    assert status == 0, err
    assert not err and f'run: era_runs/mnist/{dir.name}' in out
    f, = dir.glob('wandb/offline-run-*/run-*.wandb'); assert f.stat().st_size > 1000
    assert not (tmp_path/'wandb').exists()

def test_mlflow(fork, tmp_path):
    pytest.importorskip('sqlite3'); import importlib.util
    if importlib.util.find_spec('mlflow') is None: pytest.skip('mlflow is not installed')
    status, out, err = wait(fork(tmp_path, ['run', 'mnist', '--epochs', '2', '--track', 'mlflow']), tmp_path, 240)
    assert status == 0, err
    db = sqlite3.connect(tmp_path/'era_runs'/'mlflow.db')
    logged = dict(db.execute('select key, count(*) from metrics group by key'))
    assert logged['loss'] == 46 and logged['accuracy'] == 2
    assert dict(db.execute('select key, value from params'))['epochs'] == '2'
    assert db.execute('select name, status from runs').fetchall() == [(folders(tmp_path)[0].name, 'FINISHED')]
    assert 'Traceback' not in err and not (tmp_path/'mlruns').exists()

# ---- downloads from a server of our own

BODY = random.Random(1).randbytes(300_000)

class Handler(BaseHTTPRequestHandler):
    "Answers as the server's list says: ok, whole (no ranges), cut, stall, noise, 404, 500."
    def log_message(self, *a): pass
    def do_GET(self):
        s, rng = self.server, self.headers.get('Range'); s.asked.append((self.path, rng))
        act = s.acts.pop(0) if s.acts else 'ok'
        if act.isdigit(): return self.send_error(int(act))
        start = int(rng[6:].rstrip('-')) if rng and act != 'whole' else 0
        body = (bytes(len(BODY)) if act == 'noise' else BODY)[start:]
        if not body: return self.send_error(416)
        self.send_response(206 if start else 200); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body[:len(body)//2 if act in ('cut', 'stall') else len(body)]); self.wfile.flush()
        if act == 'stall': s.over.wait(120)

@pytest.fixture
def server():
    s = ThreadingHTTPServer(('127.0.0.1', 0), Handler); s.acts, s.asked, s.over, s.daemon_threads = [], [], threading.Event(), True
    t = threading.Thread(target=s.serve_forever, args=(.02,), daemon=True); t.start()
    yield s
    s.over.set(); s.shutdown(); s.server_close()

@pytest.fixture
def toy(server):
    return Dataset('toy', 'random bytes', 'none', lambda d: (d/'toy.bin').read_bytes(), {'toy.bin': hashlib.sha256(BODY).hexdigest()},
                   url=f'http://127.0.0.1:{server.server_port}', standin='digits')

def ranges(server): return [r for _, r in server.asked]
def whole(toy): return (data.cache_dir()/'toy'/'toy.bin').read_bytes() == BODY and [f.name
    for f in (data.cache_dir()/'toy').iterdir()] == ['toy.bin']

@pytest.mark.parametrize('acts', [['ok'], ['cut', 'ok'], ['cut', 'cut', 'ok'], ['cut', 'whole'], ['stall', 'ok']])
def test_download(server, toy, acts):
    "Whole; cut off once or twice and continued; cut off and the server knows no ranges; silent for longer than the timeout."
    server.acts = acts[:]
    fetch(toy, timeout=.4)
    assert whole(toy) and find(toy) and len(server.asked) == len(acts)
    assert ranges(server)[0] is None and all(re.fullmatch(r'bytes=\d{4,}-', r) for r in ranges(server)[1:])

def test_download_continues_in_a_later_process(server, toy):
    server.acts = ['cut']*4
    with pytest.raises(DataError, match='no connection'): fetch(toy, timeout=.4)
    part, = (data.cache_dir()/'toy').iterdir()
    assert part.name == 'toy.bin.part' and part.read_bytes() == BODY[:part.stat().st_size] and not find(toy)
    server.asked.clear(); size = part.stat().st_size
    fetch(toy); assert whole(toy) and ranges(server) == [f'bytes={size}-']

@pytest.mark.parametrize('old', [bytes(1000), bytes(len(BODY)), BODY, bytes(len(BODY)+5)])
def test_download_over_an_old_part(server, toy, old):
    "What an earlier attempt left is of another file, or already whole, or too long."
    (data.cache_dir()/'toy').mkdir(); (data.cache_dir()/'toy'/'toy.bin.part').write_bytes(old)
    fetch(toy); assert whole(toy)

def test_download_is_corrupt(server, toy):
    server.acts = ['noise']
    with pytest.raises(DataError, match='checksum .* was removed'): fetch(toy)
    assert not list((data.cache_dir()/'toy').iterdir())
    fetch(toy); assert whole(toy)

def test_download_stalls_for_good(server, toy):
    server.acts = ['stall']*9
    start = time.monotonic()
    with pytest.raises(DataError, match='no connection .*ERA_DATA.*digits'): fetch(toy, timeout=.2)
    assert time.monotonic()-start < 10

@pytest.mark.parametrize('code', ['404', '403', '500'])
def test_download_is_refused(server, toy, code):
    server.acts = [code]*9
    with pytest.raises(DataError, match=f'answered {code}.*ERA_DATA.*digits'): fetch(toy)
    assert not find(toy)

def test_download_from_the_command_line(server, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv('ERA_MIRROR', f'http://127.0.0.1:{server.server_port}/')
    bad(capsys, 'data get names', 'names', 'checksum', 'removed', 'ERA_DATA')
    assert server.asked[0][0] == '/names/names.txt' and not [f for f in (tmp_path/'cache').rglob('*') if f.is_file()]
    bad(capsys, 'run mnist --data mnist', 'mnist', 'checksum', 'removed')
    monkeypatch.setitem(REGISTRY['names'].files, 'names.txt', hashlib.sha256(BODY).hexdigest())
    assert main('data get names'.split()) == 0 and main('data verify names'.split()) == 0 and main('data path names'.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path/'cache'/'names')
    (tmp_path/'cache'/'names'/'names.txt').write_bytes(b'x'); bad(capsys, 'data verify names', 'names.txt is damaged')

# ---- data files that are damaged

def idx(*shape, values=None):
    n = 1
    for s in shape: n *= s
    return struct.pack(f'>HBB{len(shape)}I', 0, 8, len(shape), *shape)+bytes(n if values is None else values)

def flipped(raw): return raw[:20]+bytes(255-b for b in raw[20:60])+raw[60:]
GOOD = gzip.compress(idx(50, 28, 28, values=0)+random.Random(2).randbytes(50*784))

@pytest.mark.parametrize('raw', [GOOD[:len(GOOD)//2], GOOD[:5], b'', b'not gzip at all', flipped(GOOD),
    gzip.compress(b'\0\0\x0d\1'+bytes(20)), gzip.compress(b'\0'),
                                 gzip.compress(idx(50, 28, 28, values=700)), gzip.compress(b'\0\0\x08\3\0')], ids=['cut', 'cut early',
                                     'empty', 'text', 'flipped', 'floats', 'byte', 'short', 'header'])
def test_damaged_images(capsys, monkeypatch, tmp_path, raw):
    d = tmp_path/'data'/'mnist'; d.mkdir(parents=True); monkeypatch.setenv('ERA_DATA', str(tmp_path/'data'))
    for f in REGISTRY['mnist'].files: (d/f).write_bytes(raw if f.startswith('train-im') else gzip.compress(idx(10, 28,
        28) if 'images' in f else idx(10)))
    with pytest.raises(DataError, match='cannot be read'): load('mnist')
    bad(capsys, 'run mnist --data mnist', 'mnist', 'cannot be read', 'era data verify mnist')
    bad(capsys, 'data verify mnist', 'train-images-idx3-ubyte.gz is damaged')

def test_part_of_a_set(monkeypatch, tmp_path):
    "A folder in which one file is missing is not taken for the set."
    d = tmp_path/'data'/'mnist'; d.mkdir(parents=True); monkeypatch.setenv('ERA_DATA', str(tmp_path/'data'))
    for f in list(REGISTRY['mnist'].files)[:3]: (d/f).write_bytes(b'x')
    assert find(REGISTRY['mnist']) is None and list(verify('mnist').values()) == ['damaged']*3+['missing']

# ---- real data, where it lies beside the checkout

@pytest.fixture
def real(monkeypatch):
    "`$ERA_DATA` and the user's own cache."
    if not REAL: pytest.skip('ERA_DATA is not set')
    monkeypatch.setenv('ERA_DATA', REAL); monkeypatch.setenv('ERA_CACHE', CACHE)
    def need(name):
        if not find(REGISTRY[name]): pytest.skip(f'{name} is not in $ERA_DATA')
    return need

@pytest.mark.parametrize('name', [n for n, d in REGISTRY.items() if d.files])
def test_real_set_parses(real, name):
    real(name); d = load(name)
    if isinstance(d, data.Images):
        assert d.x_train.dtype == torch.uint8 and len(d.x_train) == len(d.y_train) >= 50_000 and len(d.x_test) == len(d.y_test) == 10_000
        assert sorted(set(d.y_test.tolist())) == list(range(len(d.classes)))
    elif isinstance(d, Path): assert all((d/f).exists() for f in REGISTRY[name].files)
    elif name == 'cc12m_sample': assert all(len(rows) > 1 for rows in d.values()) # one split, many pairs
    else: assert len(d) > 1
    if REGISTRY[name].mb < 15: assert set(verify(name).values()) == {'ok'}

@pytest.mark.parametrize('name,least', [('mnist', .9), ('fashion_mnist', .8)])
def test_real_run(real, tmp_path, name, least):
    real(name)
    assert main(f'run mnist --data {name} --epochs 1 --bs 256'.split()) == 0
    run = Run(folders(tmp_path)[0]); print(run.summary['accuracy'])
    assert run.summary['accuracy'] >= least and len(run.summary['confusion']) == 10

# ---- torch.compile

@pytest.mark.skipif(not any(map(shutil.which, ('c++', 'g++', 'clang++'))), reason='torch.compile needs a C++ compiler')
def test_compiled_run(capsys):
    "A compiled model trains, and its checkpoint opens in the model that is not compiled."
    assert main(['run', 'mnist', '--compile', '--epochs', '3', '--hidden', '32', '--device', 'cpu']) == 0, capsys.readouterr().err
    run = open_run('mnist')
    assert run.summary['accuracy'] > .3 and run.predict(load('digits').x_test[:2]).shape == (2, 10)
