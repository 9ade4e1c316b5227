"The files of runs/serve: parsed, and checked against the commands and the server that they start."
import re, shlex
from pathlib import Path
import pytest, yaml
from era_nbdev.core import book
from era_nbdev.core.cli import serve

ROOT = Path(__file__).parent.parent
HOME = ROOT/'runs'/'serve'
DRAIN = 25 # seconds, the default of run_server

def read(name): return list(yaml.safe_load_all((HOME/name).read_text(encoding='utf-8')))

def docker(word): # arguments of an instruction, continuation lines joined
    text = (HOME/'Dockerfile').read_text(encoding='utf-8').replace('\\\n', ' ')
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(word+' ')]

def options(words): return {w for w in words if w.startswith('--')}

def known(words): # of era serve
    import inspect
    assert options(words) <= {f'--{p}' for p in inspect.signature(serve).parameters}, words

def test_the_image_runs_a_command_that_exists_as_no_root_and_hears_sigterm():
    entry, = docker('ENTRYPOINT')
    words = yaml.safe_load(entry) # the exec form is a list; a string would be run by a shell that keeps the signal
    assert isinstance(words, list) and words[:3] == ['era', 'serve', 'llm']
    known(words[3:])
    assert words[words.index('--host')+1] == '0.0.0.0' and words[words.index('--port')+1] in docker('EXPOSE')
    assert docker('USER') == ['era']
    install = next(o for o in docker('RUN') if 'pip install' in o)
    extras = re.search(r'\.\[([\w,]+)\]', install)[1].split(',')
    assert set(extras) <= set(book.requirements()) and 'serve' in extras
    assert '-c constraints.txt' in install and (ROOT/'constraints.txt').exists()
    assert '/health' in docker('HEALTHCHECK')[0]

def test_compose_reads_the_same_port_and_waits_for_the_drain():
    compose, = read('compose.yaml')
    llm, prometheus = compose['services']['llm'], compose['services']['prometheus']
    assert (HOME/llm['build']['context']).resolve() == ROOT and (ROOT/llm['build']['dockerfile']).exists()
    known(llm['command'])
    assert int(llm['stop_grace_period'].rstrip('s')) > DRAIN
    assert all(port.startswith('127.0.0.1:') for port in llm['ports']+prometheus['ports']) # nothing is open by accident
    mounted = [v.split(':')[0] for v in prometheus['volumes']]
    assert all((HOME/v).exists() for v in mounted)
    job, = read('prometheus.yaml')[0]['scrape_configs']
    assert job['metrics_path'] == '/metrics' and job['static_configs'] == [dict(targets=['llm:8000'])]

def test_kubernetes_drains_probes_and_keeps_the_key_secret():
    deployment, service = read('kubernetes.yaml')
    assert (deployment['kind'], service['kind']) == ('Deployment', 'Service')
    labels = deployment['spec']['template']['metadata']['labels']
    assert deployment['spec']['selector']['matchLabels'] == labels == service['spec']['selector']
    pod = deployment['spec']['template']['spec']
    one, = pod['containers']
    wait = int(one['lifecycle']['preStop']['exec']['command'][1])
    assert pod['terminationGracePeriodSeconds'] > wait+DRAIN
    ports = {p['name']: p['containerPort'] for p in one['ports']}
    assert [str(p) for p in ports.values()] == docker('EXPOSE')
    for probe in ('startupProbe', 'readinessProbe', 'livenessProbe'):
        assert one[probe]['httpGet']['path'] == '/health' and one[probe]['httpGet']['port'] in ports
    assert service['spec']['ports'][0]['targetPort'] in ports
    key, = [e for e in one['env'] if e['name'] == 'ERA_API_KEY']
    assert 'value' not in key and 'secretKeyRef' in key['valueFrom']
    assert {v['name'] for v in one['volumeMounts']} == {v['name'] for v in pod['volumes']}
    assert one['securityContext']['runAsNonRoot'] and one['volumeMounts'][0]['mountPath'] in docker('ENTRYPOINT')[0]
    known(one['args'])

def test_kubernetes_has_fields_that_its_client_knows():
    client = pytest.importorskip('kubernetes.client')
    for document in read('kubernetes.yaml'):
        kind = getattr(client, f'V1{document["kind"]}')
        assert set(document) <= set(kind.attribute_map.values())

def test_sky_serves_on_the_port_that_it_opens():
    task, = read('sky.yaml')
    port = str(task['resources']['ports'])
    lines = [shlex.split(line) for line in (task['setup']+task['run']).splitlines()]
    served = next(line for line in lines if line[1:3] == ['serve', 'llm'])
    known(served[3:])
    assert served[served.index('--port')+1] == port and served[served.index('--host')+1] == '0.0.0.0'
    assert served[served.index('--run')+1] in task['file_mounts']
    assert any(line[1:4] == ['deploy', 'env', 'vllm'] for line in lines) and 'ERA_VLLM' in task['envs']
    policy = task['service']['replica_policy']
    assert 1 <= policy['min_replicas'] <= policy['max_replicas']
    assert task['service']['readiness_probe']['path'] == '/health'

def test_the_waits_are_longer_than_the_drain_of_the_server():
    import inspect
    overload = pytest.importorskip('era_nbdev.scale.overload')
    assert inspect.signature(overload.run_server).parameters['drain'].default == DRAIN
