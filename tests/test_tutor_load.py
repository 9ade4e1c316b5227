"The files of runs/tutor, parsed and compared with the program; and the command `era serve tutor`."
import inspect, json, os, re, shlex, signal, subprocess, sys, urllib.error, urllib.request
from pathlib import Path
import pytest, yaml

pytest.importorskip('fastapi', reason="no fastapi: pip install 'era_nbdev[serve]'")
from era_nbdev.apps.tutor_app import Service, Conversations, small_tutor
from era_nbdev.core import book
from era_nbdev.core.cli import main, serve
from era_nbdev.scale.overload import run_server

ROOT = Path(__file__).parent.parent
HOME = ROOT/'runs'/'tutor'
DRAIN = inspect.signature(run_server).parameters['drain'].default

def read(name):
    document, = yaml.safe_load_all((HOME/name).read_text(encoding='utf-8'))
    return document

def docker(word): # arguments of an instruction, continuation lines joined
    text = (HOME/'Dockerfile').read_text(encoding='utf-8').replace('\\\n', ' ')
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(word+' ')]

def known(words): # options of era serve
    assert {w for w in words if w.startswith('--')} <= {f'--{p}' for p in inspect.signature(serve).parameters}, words

def test_the_image_runs_a_command_that_exists_as_no_root_and_hears_sigterm():
    entry, = docker('ENTRYPOINT')
    words = yaml.safe_load(entry)
    assert isinstance(words, list) and words[:3] == ['era', 'serve', 'tutor']
    known(words[3:])
    assert words[words.index('--host')+1] == '0.0.0.0' and words[words.index('--port')+1] in docker('EXPOSE')
    assert [words[words.index('--out')+1]] == docker('VOLUME') and docker('USER') == ['era']
    install = next(o for o in docker('RUN') if 'pip install' in o)
    assert set(re.search(r'\.\[([\w,]+)\]', install)[1].split(',')) <= set(book.requirements())
    assert '-c constraints.txt' in install and '/health' in docker('HEALTHCHECK')[0]
    index, = [o for o in docker('RUN') if 'python -c' in o]
    assert 'from era_nbdev.apps.tutor_load import open_tutor' in index

def test_compose_waits_for_the_drain_and_opens_nothing_by_accident():
    compose = read('compose.yaml')
    tutor, prometheus = compose['services']['tutor'], compose['services']['prometheus']
    assert (HOME/tutor['build']['context']).resolve() == ROOT and (ROOT/tutor['build']['dockerfile']).exists()
    assert int(tutor['stop_grace_period'].rstrip('s')) > DRAIN
    assert all(port.startswith('127.0.0.1:') for port in tutor['ports']+prometheus['ports'])
    assert all((HOME/v.split(':')[0]).exists() for v in prometheus['volumes'])
    volume, = tutor['volumes']
    assert volume.split(':')[0] in compose['volumes'] and [volume.split(':')[1]] == docker('VOLUME')
    names = tutor['environment']['ERA_NAMES']
    config = read('prometheus.yaml')
    assert 'tutor' in names.rstrip('}').split() # the name by which Prometheus asks
    assert config['rule_files'] == ['alerts.yaml'] and config['scrape_configs'][0]['static_configs'] == [dict(targets=['tutor:8000'])]

def test_alerts_read_metrics_that_the_server_writes(tmp_path):
    service = Service(small_tutor(), Conversations(tmp_path/'x.db'))
    for value in (1, -1): service.meters.opinions.labels(value).inc()
    service.meters.ends.labels('failed').inc()
    service.meters.requests.labels('/api/ask', 429).inc()
    shown = service.meters.write(service.meters.registry).decode()
    group, = read('alerts.yaml')['groups']
    assert len(group['rules']) == len({rule['alert'] for rule in group['rules']}) >= 5
    for rule in group['rules']:
        assert rule['for'] and rule['annotations']['summary']
        for name in re.findall(r'\bera_\w+', rule['expr']): assert name in shown, name
        for pair in re.findall(r'(\w+)="([^"]*)"', rule['expr']):
            assert pair == ('job', 'era-tutor') or f'{pair[0]}="{pair[1]}"' in shown, pair

def test_sky_serves_on_the_port_that_it_opens():
    task = read('sky.yaml')
    lines = [shlex.split(line) for line in (task['setup']+task['run']).splitlines()]
    served = next(line for line in lines if line[2:4] == ['serve', 'tutor'])
    known(served[4:])
    assert served[served.index('--port')+1] == str(task['resources']['ports']) and served[served.index('--host')+1] == '0.0.0.0'
    assert set(re.search(r'\.\[([\w,]+)\]', task['setup'])[1].split(',')) <= set(book.requirements())

# ---- the command

@pytest.mark.parametrize('words,told', [
    ('--run nothing.era', 'no index nothing.era'), ('--folder nothing', "no notebooks"), ('--model m', 'add --engine'),
    ('--engine http://a/v1', 'add --model'), ('--engine a --model m', 'expected an address'), ('--run a --folder b', 'leave one out'),
    ('--port 0', 'port is 0'), ('--host no.such.host.invalid --run x', '--host')])
def test_wrong_options_are_one_line(capsys, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(['serve', 'tutor', '--port', '8765', *words.split()]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith('era: ') and told in said and '\n' not in said
    assert not (tmp_path/'era_runs').exists()

def test_outside_a_clone_the_command_says_what_it_needs(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(['serve', 'tutor', '--port', '8765']) == 2
    assert 'name the folder of its notebooks with --folder' in capsys.readouterr().err

def test_the_command_serves_stops_in_order_and_keeps(tmp_path):
    small_tutor().save(tmp_path/'index.era')
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT), ERA_NAMES='127.0.0.1 tutor.example')
    code = f'from era_nbdev.apps.tutor_load import serve_tutor; serve_tutor({str(tmp_path/"index.era")!r}, port=0, out={str(tmp_path/"out")!r})'
    for n in (1, 2):
        p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env=env)
        try:
            url = re.search(r'http://[\d.:]+', p.stdout.readline())[0]
            with urllib.request.urlopen(f'{url}/health') as r: assert 'pieces of the book' in json.load(r)['about']
            for host, status in (('tutor.example', 200), ('evil.example', 403)):
                try: found = urllib.request.urlopen(urllib.request.Request(f'{url}/health', headers=dict(Host=host))).status
                except urllib.error.HTTPError as e: found = e.code
                assert found == status, host
            body = json.dumps(dict(question='What is a query?')).encode()
            with urllib.request.urlopen(urllib.request.Request(f'{url}/api/ask', body, {'Content-Type': 'application/json'})) as r:
                text = r.read().decode()
            assert text.endswith('data: [DONE]\n\n') and '"turn": %d' % n in text # the second server goes on with the file
            p.send_signal(signal.SIGTERM)
            assert p.wait(120) == 0
        finally:
            p.kill()
            p.wait()
            p.stdout.close()
