"What no notebook cell can test of instruction tuning: two processes of `torchrun`, one of them killed, against one process that nobody disturbs."
import sys
import pytest
from era_nbdev.core.run import launch, settings
from killed import killed_and_finished

# At the lesson's rate of 6e-3 the rounding of two sums grows to 1e-3 within three epochs; at this rate it stays where it is.
SMALL = dict(epochs=3, lr=1e-3, n=640, pretrain=10, n_layer=1, n_head=2, n_embd=32, bs=16)
WORDS = ['run', 'instruct', *(word for name, value in SMALL.items() for word in (f'--{name.replace("_", "-")}', str(value))), '--device', 'cpu', '--out', 'two']
SCRIPT = f'''from era_nbdev.core.cli import main
from era_nbdev.foundations.callbacks import Track
Track.__init__.__defaults__ = 1, 0. # a checkpoint after each step, not every ten seconds
if __name__ == '__main__': raise SystemExit(main({WORDS}))
''' # torchrun would take an option --n for its own

@pytest.mark.skipif(sys.platform != 'linux', reason='the loopback interface is named lo')
def test_two_processes_one_of_them_killed_equal_one(tmp_path):
    (tmp_path/'two.py').write_text(SCRIPT)
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '--max-restarts', '3']
    told, run = killed_and_finished([*torchrun, 'two.py', 'instruct'], tmp_path/'two', 'instruct', tmp_path/'gate', cwd=tmp_path)
    assert 'epoch   3' in told and told.count('run: ') == 1
    two, one = run.summary, launch(settings('instruct', **SMALL), out=str(tmp_path/'one'), device='cpu').summary
    assert [row['epoch'] for row in two['curve']] == [0, 1, 2, 3]
    for name in ('valid_loss', 'before_loss'):
        pairs = [(a[name], b[name]) for a, b in zip(two['curve'], one['curve'])]
        assert max(abs(a-b) for a, b in pairs) < 1e-4, (name, pairs)
        assert len({round(a, 3) for a, _ in pairs}) == 4 # each epoch has changed it
    assert two['exact'] == one['exact'] and two['samples'] == one['samples']
