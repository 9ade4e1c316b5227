"What no notebook cell can test of `era cloud`: SkyPilot's own schema, two processes that are killed and resumed, a stand-in `sky`, and keys that leak nowhere."
import json, logging, os, shutil, signal, socket, stat, subprocess, sys, time
from pathlib import Path
import pytest, torch
import era_nbdev
from conftest import refused
from killed import held, interrupted_at, only_run, wait_until_held
from era_nbdev.core.cli import main
from era_nbdev.core.run import MissingExtra, Run, RunError, settings
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

def test_files_are_utf8_in_any_locale(tmp_path):
    (tmp_path/'config').write_text('# Schlüssel für São Paulo\nHost *\n', encoding='utf-8')
    code = "import sys; from era_nbdev.foundations.cloud import put_block, drop_block; put_block(sys.argv[1], 'a', User='\\xe9'); drop_block(sys.argv[1], 'a')"
    env = bare(LC_ALL='C', PYTHONCOERCECLOCALE='0', PYTHONUTF8='0')
    subprocess.run([sys.executable, '-c', code, tmp_path/'config'], env=env, check=True)
    assert (tmp_path/'config').read_text(encoding='utf-8') == '# Schlüssel für São Paulo\nHost *\n'

def test_hints_are_quoted_for_paths_with_spaces(tmp_path):
    key = tmp_path/'my keys'/'id'; key.parent.mkdir(); key.write_text('x'); key.chmod(0o644)
    with pytest.raises(RunError, match="chmod 600 '.*my keys/id'"): cloud.check_key(key)

def test_hours_follow_the_settings(monkeypatch):
    monkeypatch.chdir(HOME)
    once, twice = (cloud.make_plan('mnist', gpus=0, options=f'--epochs {n}') for n in (10, 20))
    assert abs(twice.hours/once.hours-2) < 1e-9 and '--epochs 20' in twice.task['run'] and 'era run mnist' in once.basis

# --- EC2, against a server on this machine

SECRET, KEY = 'wJalrXUtnFEMIzzK7MDENGbPxRfiCYEXAMPLEKEY', 'AKIAIOSFODNN7EXAMPLE'

@pytest.fixture
def aws(tmp_path, monkeypatch):
    server = pytest.importorskip('moto.server').ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False); server.start()
    for k, v in dict(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_EC2_METADATA_DISABLED='true', AWS_CONFIG_FILE=str(tmp_path/'none'), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path/'none')).items(): monkeypatch.setenv(k, v)
    monkeypatch.delenv('AWS_PROFILE', raising=False); cloud.session.cache_clear()
    host, port = server.get_host_and_port()
    yield cloud.Place(folder=str(tmp_path/'ssh'), endpoint=f'http://{host}:{port}')
    server.stop(); cloud.session.cache_clear()

def test_credentials_leak_nowhere(aws, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    with cloud.ec2('box', address='203.0.113.5', at=aws) as got:
        print(got, cloud.ec2_list(aws)); private = Path(aws.file('era-box')).read_text().splitlines()[2]
        with pytest.raises(RunError) as e: cloud.ec2_up('box', address='203.0.113.5', at=aws)
        seen = [f.read_text(errors='replace') for f in tmp_path.rglob('*') if f.is_file() and f.name != 'era-box']
    assert main('cloud plan mnist --hours 1 --out y'.split()) == 0
    seen += [f.read_text(errors='replace') for f in tmp_path.rglob('*') if f.is_file()] + [str(e.value), caplog.text, *capsys.readouterr()]
    assert seen and not any(s in text for text in seen for s in (SECRET, KEY, private))

def test_no_credentials(aws, monkeypatch):
    for k in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'): monkeypatch.delenv(k)
    cloud.session.cache_clear()
    with pytest.raises(RunError, match='aws configure'): cloud.ec2_list(aws)

def test_refusals(aws, tmp_path):
    up = lambda name='box', kind='c7i.2xlarge', **k: cloud.ec2_up(name, kind, **dict(address='203.0.113.5', at=aws) | k)
    for told, k in {'is not an IP': dict(address='home'), '4294967296 addresses': dict(address='0.0.0.0/0'), '256 addresses': dict(address='10.0.0.0/24'), 'the limit is 0.1': dict(max_price=.1), 'hours is 0': dict(hours=0),
                    'no instance type': dict(kind='g6.huge'), 'name is': dict(name='My Box'), "'us-east-1'": dict(at=cloud.Place('us-east-1x')), 'ParameterNotFound': dict(image='/no/such')}.items():
        with pytest.raises(RunError, match=told.replace('-', '.')): up(**k)
    aws.file('').mkdir(exist_ok=True); aws.file('era-box').write_text('my only key')
    with pytest.raises(RunError, match='in use'): up()
    assert aws.file('era-box').read_text() == 'my only key'
    assert cloud.find_ec2(aws.client()) == dict(instances=[], groups=[], keys=[])
    asked = []
    with cloud.ec2('two', ask=lambda: asked.append(1) or '203.0.113.8', at=aws): assert asked == [1]

@pytest.mark.skipif(not shutil.which('ssh') or not shutil.which('ssh-keygen'), reason='needs OpenSSH')
def test_openssh_reads_the_key_and_the_login(aws):
    aws.file('').mkdir(); os.symlink(aws.file('real'), aws.file('config')); aws.file('real').write_text('Host *\n  User nobody\n')
    with cloud.ec2('box', address='203.0.113.5', at=aws) as got:
        told = subprocess.run(['ssh', '-F', aws.file('config'), '-G', 'era-box'], capture_output=True, text=True, check=True).stdout
        assert f'hostname {got["address"]}' in told and 'user ec2-user' in told and 'identitiesonly yes' in told
        public = subprocess.run(['ssh-keygen', '-y', '-f', aws.file('era-box')], capture_output=True, text=True, check=True).stdout
        assert cloud.fingerprint(public) in subprocess.run(['ssh-keygen', '-lf', aws.file('era-box')], capture_output=True, text=True, check=True).stdout
        assert stat.S_IMODE(aws.file('era-box').stat().st_mode) == 0o600 and aws.file('config').is_symlink()
    assert aws.file('real').read_text() == 'Host *\n  User nobody\n'
