"Runs and their folders, settings, several processes, trackers and the command: what a notebook cell cannot test."
import json, multiprocessing, os, shutil, signal, socket, subprocess, sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
import pytest, torch
import torch.distributed as dist
from annotated_types import Ge
import era_nbdev
from conftest import refused
from era_nbdev.core import run as runs
from era_nbdev.core.cli import main
from era_nbdev.core.run import CheckpointError, Experiment, Run, RunError, experiment
from era_nbdev.foundations.tensors import Batches

HOME = str(Path(era_nbdev.__file__).parent.parent)

@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    "Each test has its own working folder, and no keys, data or settings of the user."
    monkeypatch.chdir(tmp_path)
    for k in list(os.environ):
        if k.startswith(('ERA_', 'WANDB_', 'NETRC')): monkeypatch.delenv(k)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('ERA_CACHE', str(tmp_path/'cache'))

def bad(capsys, argv, *words):
    "The command ends with status 2 and one message."
    capsys.readouterr()
    assert main(argv.split() if isinstance(argv, str) else argv) == 2
    refused(capsys.readouterr().err, *words)

@experiment('toy')
@dataclass
class Toy(Experiment):
    "Trains nothing, in several ways."
    paths = ('text',)
    bs: Annotated[int, Ge(1)] = 4 # rows
    lr: float = .1 # rate
    text: str = '' # a file
    ends: str = 'well' # how
    def fit(self, run):
        if self.ends == 'bug': return len(3)
        if self.ends == 'refused': Batches(torch.ones(2), torch.ones(3), 1)
        if self.ends == 'memory': torch.empty(2**60)
        return dict(device_used=1., rows=float(self.bs))

@pytest.fixture
def half():
    "An unfinished run of `toy`."
    run = runs.create(runs.settings('toy'), device='cpu')
    run.save({}, {}, step=1)
    return run.dir

def change(dir, **parts):
    "Replace parts of a run's configuration."
    config = json.loads((dir/'config.json').read_text()) | parts
    (dir/'config.json').write_text(json.dumps(config))

# ---- the command tells mistakes of the user from faults of the book

def test_a_fault_of_the_book_shows_where_it_is(capsys):
    assert main(['run', 'toy', '--ends', 'bug']) == 1
    err = capsys.readouterr().err
    assert 'Traceback' in err and 'return len(3)' in err and 'report it' in err and 'github.com' in err

def test_what_a_chapter_refuses_is_one_line(capsys):
    bad(capsys, 'run toy --ends refused', 'x has 2 examples and y has 3')

def test_too_little_memory_is_one_line(capsys):
    bad(capsys, 'run toy --ends memory', 'the memory of cpu does not suffice', '--bs')

def test_closed_stdout():
    for words in (['list'], ['--help']):
        line = ' '.join([sys.executable, '-m', 'era_nbdev.core.cli', *words])
        done = subprocess.run(['sh', '-c', f'{line} >&-'], env=os.environ | dict(PYTHONPATH=HOME), capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr

def test_interrupted_while_it_is_imported(tmp_path):
    "A Ctrl-C that arrives during the first import is one line."
    for package in ('rich', 'tyro', 'annotated_types'): (tmp_path/f'{package}.py').write_text('import signal\nsignal.raise_signal(signal.SIGINT)\n')
    env = os.environ | dict(PYTHONPATH=os.pathsep.join([str(tmp_path), HOME]))
    done = subprocess.run([sys.executable, '-m', 'era_nbdev', 'list'], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, 'era: stopped by SIGINT\n')

def test_options_are_refused_by_tyro_with_the_nearest_name(capsys):
    bad(capsys, 'run toy --bss 3', '--bss', '--bs')
    bad(capsys, 'run toy --bs x', '--bs', "'x'")
    bad(capsys, 'run toy --bs 0', 'bs is 0, expected 1 or more')
    bad(capsys, 'run toy --lr nan', 'lr is nan, expected a finite number')
    bad(capsys, 'completion tcsh', "'tcsh'", 'zsh')

# ---- a run's folder

def test_a_path_among_the_settings_is_absolute(tmp_path):
    Path('my.txt').write_text('abc')
    Path('digits').mkdir() # called like a data set
    settings = [runs.create(runs.settings('toy', text=t), device='cpu').config['settings']['text'] for t in ('my.txt', 'digits', 'no.txt')]
    assert settings == [str(tmp_path/'my.txt'), 'digits', 'no.txt']

def test_the_same_relative_path_resumes(half, monkeypatch, capsys):
    Path('my.txt').write_text('abc')
    run = runs.create(runs.settings('toy', text='my.txt'), device='cpu')
    run.save({}, {}, step=1)
    assert main(['run', 'toy', '--resume', str(run.dir), '--text', 'my.txt']) == 0

def test_kept_values(half):
    run = Run(half)
    run.keep('vocabulary', dict(letters='aé', sizes=[1, 2]))
    assert Run(half).kept('vocabulary') == dict(letters='aé', sizes=[1, 2])
    assert run.kept('nothing', default=None) is None
    with pytest.raises(RunError, match='has no nothing.json'): run.kept('nothing')

@pytest.mark.parametrize('parts, told', [
    (dict(settings=None), 'settings is None'), (dict(settings=dict(colour=1)), "no setting 'colour'"), (dict(settings=dict(lr='x')), "lr is 'x'"),
    (dict(settings=dict(bs=0)), 'bs is 0, expected 1 or more'), (dict(seed=None), 'seed is None'), (dict(settings=dict(bs=None)), 'bs is None')])
def test_a_damaged_configuration_is_one_line(capsys, half, parts, told):
    change(half, **parts)
    bad(capsys, ['run', 'toy', '--resume', str(half)], 'config.json', told)

@pytest.mark.parametrize('line', ['{"a": 1}', '[1]', 'null', '3', '{"step": "x"}'])
def test_lines_that_are_no_metrics(capsys, half, line):
    Run(half).log(1, loss=.5)
    with open(half/'metrics.jsonl', 'a') as f: f.write(line+'\n')
    run = Run(half); run.rewind(1)
    assert [o['loss'] for o in run.metrics()] == [.5] and (half/'metrics.jsonl').read_text().count('\n') == 1
    assert main(['run', 'toy', '--resume', str(half)]) == 0

def test_a_state_without_its_step(capsys, half):
    torch.save(dict(experiment='toy'), half/'state.pt')
    bad(capsys, ['run', 'toy', '--resume', str(half)], 'state.pt is damaged', 'which step')

def test_what_killed_writes_left_is_removed(half):
    for name in ('.state.pt.abcd_123', '.checkpoint.safetensors.zzzzzzzz', '.loss.99.svg'): (half/name).write_bytes(b'x')
    (half/'.notes').write_text('mine')
    assert main(['run', 'toy', '--resume', str(half)]) == 0
    assert [f.name for f in half.iterdir() if f.name.startswith('.')] == ['.notes']

def test_tied_weights_are_stored_once(half):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = torch.nn.Embedding(1000, 8), torch.nn.Linear(8, 1000, bias=False)
            self.head.weight = self.embedding.weight
    run, net = Run(half), Net()
    run.save(net.state_dict(), dict(model=net.state_dict()), step=2)
    assert max((half/f).stat().st_size for f in ('checkpoint.safetensors', 'state.pt')) < 1.3*1000*8*4
    other = run.load_into(Net())
    assert torch.equal(other.head.weight, net.head.weight) and other.head.weight is other.embedding.weight

# ---- resuming

def test_the_device_that_is_named_wins(capsys, half):
    change(half, device='cuda')
    if not torch.cuda.is_available(): bad(capsys, ['run', 'toy', '--resume', str(half)], 'another machine', "'cuda'", '--device')
    assert main(['run', 'toy', '--resume', str(half), '--device', 'cpu']) == 0 and Run(half).finished

def test_a_device_that_is_not_there_is_refused(capsys, half):
    bad(capsys, ['run', 'toy', '--resume', str(half), '--device', 'tpu'], "'tpu'", 'there is cpu')
    assert not Run(half).finished

def test_no_option_of_a_resumed_run_is_dropped(capsys, half):
    for words, told in (('--plan', '--plan'), ('--out elsewhere', '--out'), ('--bs 5', 'bs is 4 there, 5 here'), ('--seed 1', 'seed is 0 there')):
        bad(capsys, ['run', 'toy', '--resume', str(half), *words.split()], told)
    bad(capsys, ['run', 'mnist', '--resume', str(half)], 'is a run of toy')
    assert main(['run', 'toy', '--resume', str(half), '--out', 'era_runs', '--bs', '4', '--seed', '0']) == 0

@pytest.mark.parametrize('name', ['toy', 'mnist'])
def test_a_folder_called_like_an_experiment_is_no_run(capsys, half, name):
    Path(name).mkdir()
    if name == 'toy': assert main(['run', 'toy', '--resume']) == 0
    else: bad(capsys, 'serve mnist', 'no finished run', 'era run mnist')
    bad(capsys, ['run', 'toy', '--resume', f'./{name}'], 'is not the folder of a run')

# ---- trackers

def test_netrc_of_another_machine_is_no_key(tmp_path):
    from era_nbdev.core.trackers import has_key
    assert not has_key()
    (tmp_path/'.netrc').write_text('machine example.org login me password secret\n')
    assert not has_key()
    (tmp_path/'.netrc').write_text('machine api.wandb.ai login user password secret\n')
    assert has_key()

def test_mlflow_refuses_a_folder_that_its_address_cannot_name(capsys):
    pytest.importorskip('mlflow')
    bad(capsys, ['run', 'toy', '--track', 'mlflow', '--out', 'a?b#c%d'], 'MLflow cannot write', '? and # and %')
    assert not Path('a').exists()

# ---- several processes

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def masked_loss(model, x, targets):
    "Sum and number of the terms that are not padding (-100)."
    total = torch.nn.functional.cross_entropy(model(x), targets, ignore_index=-100, reduction='sum')
    return total, (targets != -100).sum()

def padded_batch():
    "A model and eight rows, of which ranks 0 and 1 keep seven and two targets."
    torch.manual_seed(0)
    x, targets = torch.randn(8, 5), torch.randint(3, (8,))
    targets[1::2] = -100
    targets[torch.tensor([1, 3])] = 2
    targets[0] = -100
    return torch.nn.Linear(5, 3), x, targets

def rank_of_two(rank, port, answers):
    from era_nbdev.core.distributed import Shard, is_main, shared_mean, shared_sum
    torch.set_num_threads(1)
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    model, x, targets = padded_batch()
    net = torch.nn.parallel.DistributedDataParallel(model)
    (own_x, own_targets), = Shard([(x, targets)], rank, 2)
    total, count = shared_sum(*masked_loss(net, own_x, own_targets))
    loss = total/count
    loss.backward()
    mean = shared_mean(torch.tensor(float(rank)))
    answers.put((rank, is_main(), loss.item(), count.item(), model.weight.grad.tolist(), mean.item()))
    dist.destroy_process_group()

@pytest.mark.skipif(sys.platform != 'linux', reason='forks a process that has imported torch')
def test_loss_and_gradient_of_two_processes_are_those_of_the_whole_batch():
    "The ranks keep different numbers of targets, so the mean of their means would be another number."
    torch.set_num_threads(1)
    context, port = multiprocessing.get_context('fork'), free_port()
    answers = context.Queue()
    processes = [context.Process(target=rank_of_two, args=(rank, port, answers)) for rank in range(2)]
    for p in processes: p.start()
    got = sorted(answers.get(timeout=60) for _ in processes)
    for p in processes: p.join(30)
    model, x, targets = padded_batch()
    total, count = masked_loss(model, x, targets)
    (total/count).backward()
    parts = [masked_loss(model, x[r::2], targets[r::2]) for r in range(2)]
    assert parts[0][1] != parts[1][1] and abs(sum(s/n for s, n in parts)/2-total/count) > .01
    assert [o[:2] for o in got] == [(0, True), (1, False)]
    assert got[0][2] == got[1][2], 'the ranks disagree'
    for _, _, loss, n, gradient, mean in got:
        assert abs(loss-(total/count).item()) < 1e-6 and n == count and mean == .5
        assert (torch.tensor(gradient)-model.weight.grad).abs().max() < 1e-6


def test_the_same_checkpoint_has_the_same_bytes(tmp_path):
    run, w = runs.create(runs.settings('neurons'), out=str(tmp_path), device='cpu'), torch.arange(4.)
    seen = set()
    for _ in range(20):
        run.save(dict(a=w, b=w), {}, 1)
        seen.add((run.dir/'checkpoint.safetensors').read_bytes())
    assert len(seen) == 1 and runs.read_weights(run.dir/'checkpoint.safetensors')['b'].equal(w)


def test_the_names_that_a_run_needs_come_with_it():
    "`from era_nbdev.core.run import *` gave `launch`, but neither `settings` nor the errors."
    names = {}
    exec('from era_nbdev.core.run import *', names)
    assert {'launch', 'settings', 'experiment', 'Experiment', 'RunError', 'Interrupted'} <= {*names}
