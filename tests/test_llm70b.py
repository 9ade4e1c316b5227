"The files that start the 70B: parsed, and checked against the command that they start; a rehearsal under torchrun; bad input."
import json, os, re, shlex, subprocess, sys
from dataclasses import fields
from pathlib import Path
import pytest, yaml
from conftest import refused
from era_nbdev.core.cli import OPTIONS, main
from era_nbdev.core.experiments import find_experiment
from era_nbdev.core.run import settings

ROOT = Path(__file__).parent.parent
SH, SBATCH, SKY = (ROOT/'runs'/name for name in ('llm70b.sh', 'llm70b.sbatch', 'sky/llm70b-full.yaml'))
FULL = settings('llm70b', 'full')

def known(text): # options of `era run llm70b` in a line of shell
    names = {f.name.replace('_', '-') for f in fields(FULL)} | {o.replace('_', '-') for o in OPTIONS} | {'scale'}
    found = set(re.findall(r'(?<![\w-])--([a-z][\w-]*)', text))
    assert {o.removeprefix('no-') for o in found} <= names, found
    return found

def bad(capsys, words, *told):
    assert main(['run', 'llm70b', *words.split()]) == 2
    refused(capsys.readouterr().err, *told)

@pytest.mark.parametrize('file', [SH, SBATCH])
def test_scripts_are_shell(file):
    assert file.read_text().startswith('#!/usr/bin/env bash\n') and 'set -euo pipefail' in file.read_text()
    assert subprocess.run(['bash', '-n', str(file)], capture_output=True).returncode == 0
    assert os.access(file, os.X_OK)

def test_torchrun_starts_a_command_that_exists():
    text = SH.read_text().replace('\\\n', ' ')
    launcher, ours = text[text.index('exec torchrun'):], re.search(r'run=\(-m era_nbdev.core.cli(.*)\)', text)[1]
    assert known(ours) == {'scale', 'folder', 'out'} and known(re.search(r'data=\((--.*)\)', text)[1]) == {'data'}
    assert shlex.split(ours)[:2] == ['run', 'llm70b']
    from torch.distributed.run import get_args_parser
    there = {o for action in get_args_parser()._actions for o in action.option_strings}
    assert set(re.findall(r'--[a-z][\w-]*', launcher+re.search(r'meet=\((--nnodes.*)\)', text)[1]+'--standalone')) <= there
    examples = [line for line in text.splitlines() if line.startswith('#   ') and 'llm70b.sh' in line]
    assert len(examples) == 2 and known(examples[1].split('llm70b.sh')[1]) == {'no-marathon', 'device'}

def test_slurm_asks_for_the_ranks_of_the_full_scale():
    asked = dict(re.findall(r'^#SBATCH --([\w-]+)(?:=(\S+))?$', SBATCH.read_text(), re.M))
    assert set(asked) <= {'job-name', 'nodes', 'ntasks-per-node', 'gpus-per-node', 'cpus-per-task', 'exclusive', 'time', 'requeue', 'open-mode'}
    assert int(asked['nodes'])*int(asked['gpus-per-node']) == FULL.layout().gpus
    assert asked['ntasks-per-node'] == '1' and 'requeue' in asked and asked['open-mode'] == 'append' # one torchrun a machine; a log that goes on
    assert 'exec runs/llm70b.sh' in SBATCH.read_text()

def test_skypilot_asks_for_them_too():
    task = yaml.safe_load(SKY.read_text())
    assert set(task) <= {'name', 'workdir', 'num_nodes', 'resources', 'envs', 'file_mounts', 'setup', 'run'}
    assert set(task['resources']) <= {'infra', 'accelerators', 'disk_size', 'use_spot', 'job_recovery'}
    gpu, number = task['resources']['accelerators'].split(':')
    assert gpu == 'H100' and task['num_nodes']*int(number) == FULL.layout().gpus
    mounts = task['file_mounts']
    assert all(any(task['envs'][name].startswith(place) for place in mounts) for name in ('DATA', 'FOLDER'))
    assert subprocess.run(['bash', '-n', '-c', task['run']], capture_output=True).returncode == 0
    assert task['run'].splitlines()[-1] == 'runs/llm70b.sh'
    needed = set(re.findall(r'\$\{(\w+):\?', SH.read_text())) # what the script refuses to do without
    assert needed <= {*task['envs'], *re.findall(r'(\w+)="', task['run'])}

def test_full_is_the_plan_of_the_planner(capsys):
    assert (FULL.layout().gpus, FULL.size, FULL.marathon) == (256, '70b', False)
    assert main(['run', 'llm70b', '--scale', 'full', '--plan']) == 0
    told = capsys.readouterr().out
    assert '70,553,706,496' in told and 'USD' in told and '256' in told

def test_bad_input_is_one_clear_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad(capsys, '--steps 30', 'steps is 30', 'multiple of every = 4')
    bad(capsys, '--tp 3', 'tp is 3', 'KV_heads')
    bad(capsys, '--size 80b', "no size '80b'")
    bad(capsys, '--pp 2 --n-layer 2', 'short is True', 'False where there is a pipeline')
    bad(capsys, '--T 20', 'T is 20', 'multiple of 16')
    bad(capsys, '--scale full', 'needs 256 processes', 'torchrun', 'runs/llm70b.sh')
    monkeypatch.setenv('WORLD_SIZE', '3')
    bad(capsys, '--no-marathon', 'is 2, but torchrun started 3')
    bad(capsys, '', 'starts its own processes')
    monkeypatch.setenv('WORLD_SIZE', '2')
    bad(capsys, '--no-marathon', 'folder is empty')

def test_a_folder_of_another_run_is_refused(capsys, tmp_path, monkeypatch):
    from era_nbdev.scale.llm70b import claim
    monkeypatch.chdir(tmp_path)
    claim(tmp_path/'shared'/'undisturbed', settings('llm70b', 'smoke', lr=1e-2), 0)
    bad(capsys, f'--folder {tmp_path}/shared', 'is the folder of another run', 'lr is 0.01 there, 0.003 here')

@pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
def test_the_script_refuses_a_wrong_setting_before_torchrun_starts(tmp_path):
    env = os.environ | dict(FOLDER=str(tmp_path/'run'), SCALE='smoke', PROCESSES='2', PYTHONPATH=str(ROOT),
                            PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    words = ['bash', str(SH), '--no-marathon', '--device', 'cpu', '--steps', '7', '--every', '4']
    r = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert (r.returncode, r.stdout) == (2, '') and r.stderr == 'era: steps is 7, expected a multiple of every = 4\n'
    assert list(tmp_path.iterdir()) == []

def test_a_rehearsal_goes_on_with_other_processes(tmp_path):
    env = os.environ | dict(FOLDER=str(tmp_path/'run'), SCALE='smoke', OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT), GLOO_SOCKET_IFNAME='lo',
                            PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    env.pop('ERA_RECORD', None)
    def start(processes, *more):
        words = ['bash', str(SH), '--no-marathon', '--device', 'cpu', *more]
        r = subprocess.run(words, cwd=tmp_path, env=env | dict(PROCESSES=str(processes)), capture_output=True, text=True, timeout=900)
        assert r.returncode == 0, r.stderr[-3000:]
        lines = [json.loads(line) for line in (tmp_path/'run'/'log.jsonl').read_text().splitlines()]
        return [(o['event'], o.get('step')) for o in lines]
    assert start(4, '--dp', '4', '--accumulate', '1', '--every', '8')[-1] == ('end', 16)
    newest = sorted((tmp_path/'run'/'checkpoints').glob('step_*'))[-1]
    damaged = max(newest.glob('*.distcp'), key=lambda p: p.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1]) # the last checkpoint is cut off, and two processes go on from the one before
    told = start(2)
    again = told[[event for event, _ in told].index('end')+1:]
    assert ('start', 8) in again and again[-1] == ('end', 16)
    assert [step for event, step in again if event == 'step'] == list(range(9, 17))
