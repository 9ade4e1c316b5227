"What no notebook cell can test of `era cloud`: SkyPilot's own schema, two processes that are killed and resumed, a stand-in `sky`, and bad input."
import json, os, signal, socket, subprocess, sys
from pathlib import Path
import pytest, torch
import era_nbdev
from conftest import refused
from killed import held, interrupted_at, only_run, wait_until_held
from era_nbdev.core.cli import main
from era_nbdev.core.run import Run
from era_nbdev.foundations import cloud

HOME = Path(era_nbdev.__file__).parent.parent
PY = Path(sys.executable).parent
COMMITTED = dict(mnist=dict(gpus=0), allreduce=dict(gpus=0, nodes=2, spot=True, results='s3://your-era-runs'))

@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

def bare(**more): # the environment without this book's variables
    return {k: v for k, v in os.environ.items() if not k.startswith(('ERA_', 'AWS_'))} | dict(OMP_NUM_THREADS='1', PYTHONPATH=str(HOME)) | more

def bad(capsys, words, *told):
    assert main(['cloud', *words.split()]) == 2
    refused(capsys.readouterr().err, *told)

# --- the task files

@pytest.mark.parametrize('name', COMMITTED)
def test_committed_task_files_are_what_the_command_writes(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(HOME)
    args = [w for k, v in COMMITTED[name].items() for w in ([f'--{k}'] if v is True else [f'--{k}', str(v)])]
    assert main(['cloud', 'plan', name, '--hours', '1', *args, '--out', str(tmp_path)]) == 0
    text = (tmp_path/f'{name}-full.yaml').read_text()
    assert text == (HOME/f'runs/sky/{name}-full.yaml').read_text(), f'run: era cloud plan {name} {" ".join(args)}'

SCHEMA = '''
import json, sys, jsonschema
from sky.utils import schemas
from sky.client.cli.command import cli
for file in sys.argv[2:]:
    import yaml
    t = yaml.safe_load(open(file))
    jsonschema.validate(t, schemas.get_task_schema()); jsonschema.validate(t['resources'], schemas.get_resources_schema())
    for m in (t.get('file_mounts') or {}).values():
        if isinstance(m, dict): jsonschema.validate(m, schemas.get_storage_schema())
try: jsonschema.validate(dict(t, rnu=''), schemas.get_task_schema()); sys.exit('a misspelt key was accepted')
except jsonschema.ValidationError: pass
for words in json.loads(sys.argv[1]):
    c, i = cli, 1
    while hasattr(c, 'commands'): c, i = c.commands[words[i]], i+1
    for w in words[i:]:
        if w.startswith('-'): assert any(w in p.opts for p in c.params), (words, w)
'''

def test_files_and_commands_fit_skypilot_itself(tmp_path):
    pytest.importorskip('sky')
    gpu = cloud.make_plan('allreduce', gpus=8, accelerator='H100', nodes=2, hours=1, data='s3://some-data', results='s3://some-runs').task
    cloud.write_task(tmp_path/'gpu.yaml', gpu)
    spot = cloud.make_plan('mnist', hours=1, spot=True, results='s3://some-runs').task
    words = [cloud.sky_command(w, t, 'f.yaml', True) for t in (gpu, spot) for w in ('launch', 'logs', 'stop')] + [cloud.sky_command('stop', cloud.make_plan('mnist', hours=1).task, 'f', True)]
    env = bare(HOME=str(tmp_path), SKYPILOT_DISABLE_USAGE_COLLECTION='1')
    r = subprocess.run([sys.executable, '-c', SCHEMA, json.dumps(words), *map(str, [*HOME.glob('runs/sky/*.yaml'), tmp_path/'gpu.yaml'])], env=env, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr

def test_import_needs_neither_torch_nor_boto3_nor_sky():
    code = "import sys, era_nbdev.foundations.cloud; print([m for m in ('torch', 'boto3', 'botocore', 'sky', 'yaml', 'cryptography') if m in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], env=bare(), capture_output=True, text=True, check=True).stdout == '[]\n'

# --- the run block, as a cluster would run it

OPTIONS = ['--scale', 'smoke', '--device', 'cpu', '--epochs', '12', '--save', '0']

def free_port():
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); return s.getsockname()[1]

def nodes(out, n=2, **more): # one bash for each machine, as SkyPilot starts them
    block = cloud.run_block('allreduce', OPTIONS, n > 1)
    env = bare(PATH=f'{PY}{os.pathsep}{os.environ["PATH"]}', ERA_OUT=str(out), MASTER_PORT=str(free_port()), GLOO_SOCKET_IFNAME='lo',
               SKYPILOT_NODE_IPS='\n'.join(['127.0.0.1']*n), SKYPILOT_NUM_NODES=str(n), SKYPILOT_NUM_GPUS_PER_NODE='0') | more
    return [subprocess.Popen(['bash', '-c', block], env=env | dict(SKYPILOT_NODE_RANK=str(i)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for i in range(n)]

def finish(ps):
    told = [p.communicate(timeout=400)[0] for p in ps]
    assert [p.returncode for p in ps] == [0]*len(ps), '\n'.join(told)

def losses(d): return torch.tensor([m['loss'] for m in Run(d).metrics('loss')])

@pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
def test_two_machines_equal_one_also_after_both_were_lost(tmp_path):
    psutil = pytest.importorskip('psutil')
    one, two = tmp_path/'one', tmp_path/'two'
    ps = nodes(two, **held(tmp_path/'gate'))
    try:
        wait_until_held(tmp_path/'gate', *ps)
    finally:
        for q in [q for p in ps for q in [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)]]: q.send_signal(signal.SIGKILL)
        for p in ps: p.communicate()
    assert interrupted_at(two, 'allreduce') == 3
    finish(nodes(two)); finish(nodes(one, 1))
    a, b = (only_run(out, 'allreduce') for out in (one, two)) # one folder: the second start went on with the first
    assert a.finished and b.finished
    assert (a.summary['processes'], b.summary['processes']) == (1, 2)
    assert len(losses(a.dir)) == len(losses(b.dir)) == 12*22
    assert (losses(a.dir)-losses(b.dir)).abs().max() < 1e-5
    assert max(abs(x-y) for x, y in zip(a.summary['curve'], b.summary['curve'])) < 1e-5 and a.summary['accuracy'] == b.summary['accuracy'] > .9

# --- launching, with a stand-in for sky

@pytest.fixture
def sky(tmp_path, monkeypatch): # records its arguments; ends with the status in $SKY_STATUS
    d = tmp_path/'bin'; d.mkdir()
    for name in ('sky', 'ssh'):
        (d/name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\nexit ${{SKY_STATUS:-0}}\n'); (d/name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{d}{os.pathsep}/usr/bin:/bin')
    return lambda: (tmp_path/'called').read_text().splitlines() if (tmp_path/'called').exists() else []

def test_nothing_starts_unasked(sky, capsys, monkeypatch):
    launch = 'launch allreduce --hours 1 --out y'
    bad(capsys, launch, 'nobody is here to say yes: pass --yes')
    class Tty:
        def __init__(self, answer): self.answer = answer
        def isatty(self): return True
        def readline(self): return self.answer+'\n'
    monkeypatch.setattr(sys, 'stdin', Tty('y')); bad(capsys, launch, 'nothing was started')
    assert sky() == []
    monkeypatch.setattr(sys, 'stdin', Tty('yes')); assert main(['cloud', *launch.split()]) == 0
    out = capsys.readouterr().out
    file = Path('y/allreduce-full.yaml').resolve()
    assert '0.80 USD' in out and f'sky launch -c era-allreduce-full {file}' in out
    assert sky() == [f'sky launch -c era-allreduce-full {file}']

def test_every_command_reaches_sky(sky, capsys):
    own, spot = 'mnist --out a', 'mnist --out b'
    assert main(f'cloud launch {own} --hours 1 --yes'.split()) == 0
    assert main(f'cloud launch {spot} --hours 1 --yes --spot --results s3://some-runs'.split()) == 0
    for what in ('logs', 'ssh', 'stop'): assert main(f'cloud {what} {own}'.split()) == 0
    for what in ('logs', 'stop'): assert main(f'cloud {what} {spot} --yes'.split()) == 0
    a, b = (Path(d, 'mnist-full.yaml').resolve() for d in 'ab'); n = 'era-mnist-full'
    assert sky() == [f'sky launch -c {n} --yes {a}', f'sky jobs launch -n {n} --yes {b}', f'sky logs {n}', f'ssh {n}', f'sky stop {n}', f'sky jobs logs -n {n}', f'sky jobs cancel -n {n} --yes']
    bad(capsys, f'ssh {spot}', 'come and go')

def test_failures_are_told_in_one_line(sky, capsys, monkeypatch):
    monkeypatch.setenv('SKY_STATUS', '3'); bad(capsys, 'launch mnist --hours 1 --yes --out y', 'ended with status 3')
    Path('bin/sky').unlink(); bad(capsys, 'launch mnist --hours 1 --yes --out y', 'sky is not installed', "'era_nbdev[scale]'")

def test_an_edited_file_is_used_or_refused(sky, capsys):
    launch = 'launch mnist --hours 1 --yes --out y'
    assert main(['cloud', *launch.split()]) == 0
    file = Path('y/mnist-full.yaml'); text = file.read_text()
    file.write_text(text.replace('pip install -q', 'pip install'))
    assert main(['cloud', *launch.split()]) == 0 and 'pip install -q' not in file.read_text()
    bad(capsys, 'plan mnist --hours 1 --out y', 'edited by hand')
    file.write_text(text.replace('disk_size: 100', 'disk_size: 900')); bad(capsys, launch, 'resources are not as in this price')
    file.write_text(text.replace('ERA_OUT: ', 'ERA_OTU: ')); bad(capsys, launch, "no variable 'ERA_OTU'")
    assert main(['cloud', *launch.split(), '--force']) == 0 and file.read_text() == text and len(sky()) == 3

@pytest.mark.parametrize('words, told', [
    ('plan mnst', ["'mnst'", "'mnist'"]), ('plan mnist --gpus 3', ['3 × L4']), ('plan mnist --accelerator L5 --hours 1', ["'L5'", 'A10G']),
    ('plan mnist --spot --hours 1', ['bucket']), ('plan mnist --nodes 2 --hours 1', ['one process']), ('plan mnist --hours -1', ['-1']), ('plan mnist --hours 1 --budget 0.1', ['0.10']),
    ('plan mnist --hours nan', ['hours is nan']), ('plan mnist --hours inf', ['hours is inf']), ('plan mnist --hours 1 --budget nan', ['budget is nan']),
    ('plan mnist --hours 1 --budget -1', ['budget is -1']), ('plan mnist --hours 1 --spot-price nan', ['spot_price is nan']), ('plan mnist --hours 1 --spot-price inf', ['spot_price is inf']),
    ('plan mnist --hours 1 --gpus -1', ['-1 × L4']), ('plan mnist --hours 1 --nodes 0', ['nodes is 0']),
    ('plan mnist --hours 1 --options=--lrr=3', ['--lr']), ('plan mnist --hours 1 --options=--lr=-3', ['lr is -3']), ('plan mnist --scale fool', ['fool']), ('plna mnist', ['plna']),
    ('plan mnist --accelerator H100 --gpus 8', ['one process']), ('logs mnist --out y', ['era cloud plan']), ('plan mnist --accelerator T4', ['unknown', '--hours'])])
def test_bad_options(capsys, words, told): bad(capsys, words, *told); assert not list(Path('.').rglob('*.yaml'))

def test_hours_follow_the_settings(monkeypatch):
    monkeypatch.chdir(HOME)
    once, twice = (cloud.make_plan('mnist', gpus=0, options=f'--epochs {n}') for n in (10, 20))
    assert abs(twice.hours/once.hours-2) < 1e-9 and '--epochs 20' in twice.task['run'] and 'era run mnist' in once.basis
