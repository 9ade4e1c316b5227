"Agents that learn to act: a run that is killed goes on as if nothing had happened; what PPO does not depend on; `era watch` and its folders."
import multiprocessing, os, sys
from dataclasses import fields, replace
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from era_nbdev.core.cli import main
from era_nbdev.core.run import Run
from killed import killed_alone, only_run

pytest.importorskip('gymnasium')
from era_nbdev.rl import ppo
from era_nbdev.rl.fast import Rollout, collect
from era_nbdev.rl.vector import Vector

# small runs of a few CPU seconds with many checkpoints, and the results that must not depend on the interruption
ACTING = dict(
    ppo=(['--n-steps', '12000', '--seeds', '2', '--episodes', '5'], ['mean_return', 'return_sd']),
    dqn=(['--n-steps', '2400', '--start', '300', '--explore', '1200', '--seeds', '2', '--episodes', '5', '--trials', '2',
          '--blocks', '24'], ['return', 'last', 'returns', 'largest']),
    continuous=(['--n-steps', '400', '--n-random', '100', '--seeds', '2', '--episodes', '5', '--bs', '32', '--every', '50',
                 '--save', '.1'],
                ['mean_return', 'sd', 'worst']))

# as `era`, with a checkpoint after every update of PPO
START = "import sys; import era_nbdev.rl.ppo as p; p.CHECKPOINT = 0.; from era_nbdev.core.cli import main; sys.exit(main(sys.argv[1:]))"

@pytest.fixture(scope='module', autouse=True)
def one_thread():
    "The processes of these tests compute with one thread; sums in another order differ in their last bits."
    n = torch.get_num_threads(); torch.set_num_threads(1); yield; torch.set_num_threads(n)

@pytest.mark.parametrize('name', ACTING)
def test_killed_and_resumed(name, tmp_path, monkeypatch):
    "SIGKILL in the middle of learning: environments, memory, network, optimizer and generators go on where they were."
    settings, keys = ACTING[name]
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    argv = ['run', name, '--device', 'cpu', *settings, '--out']
    assert main([*argv, str(tmp_path/'straight')]) == 0
    killed_alone([sys.executable, '-c', START, *argv, str(tmp_path/'killed')], tmp_path/'gate', 4)
    killed = only_run(tmp_path/'killed', name)
    assert not killed.finished
    if name == 'continuous': # in the middle of a seed, so that the memory is part of what was saved
        assert 0 < len(killed.load_state()['going']['history']) < 8
    assert main(['run', name, '--resume', str(killed.dir)]) == 0
    straight = only_run(tmp_path/'straight', name).summary
    assert {key: Run(killed.dir).summary[key] for key in keys} == {key: straight[key] for key in keys}

def learned(rule, n_updates=4, **options):
    agent = ppo.PPO('CartPole-v1', rule, 1, n_updates, **options)
    reports = [agent.update() for _ in range(n_updates)]
    return agent, reports

def test_ppo_on_one_thread_or_two():
    "The same steps, returns, divergences and weights, to the last bit."
    agents = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        with threadpool_limits(n_threads): agents.append(learned(ppo.FAST))
    torch.set_num_threads(1)
    (one, its), (two, others) = agents
    assert np.array_equal(one.fast.weights, two.fast.weights) and np.array_equal(one.vector.obs, two.vector.obs)
    assert [row[::2] for row in one.history] == [row[::2] for row in two.history] and its == others

WIDE = replace(ppo.FAST, n_copies=8, n_steps=64)

def group(rank): # two of the eight copies
    torch.set_num_threads(1)
    vector = Vector('CartPole-v1', 2, 1, mode='sync', first=2*rank)
    vector.reset()
    return vector

def play(rank, pipe):
    "An actor: a group of copies, played with the weights and the noise that it is sent."
    vector = group(rank)
    fast = ppo.new_net(vector, WIDE, 0)
    while True:
        weights, noise = pipe.recv()
        if weights is None: return
        fast.weights[:] = weights
        pipe.send(collect(fast, vector, noise))

def joined(parts):
    columns = [np.concatenate([getattr(part, field.name) for part in parts], axis=1) for field in fields(Rollout)]
    return Rollout(*columns)

def shares(noise): return [noise[:, 2*i:2*i+2].copy() for i in range(4)]

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='the actors are forked')
def test_ppo_with_four_actors_or_one(monkeypatch):
    """Four processes that collect for one learner give the trajectory and the weights of one process with the same four groups.

    One call for all eight copies plays the same actions; its outputs may differ in the last bit, since a matrix product of eight rows is another one."""
    context = multiprocessing.get_context('fork')
    pipes, ends = zip(*(context.Pipe() for _ in range(4)))
    actors = [context.Process(target=play, args=(rank, end), daemon=True) for rank, end in enumerate(ends)]
    groups, rollouts = [group(rank) for rank in range(4)], dict(one=[], four=[], whole=[])
    def alone(fast, vector, noise, *rest):
        rollouts['one'].append(joined([collect(fast, two, part) for two, part in zip(groups, shares(noise))]))
        return rollouts['one'][-1]
    def together(fast, vector, noise, *rest):
        for pipe, part in zip(pipes, shares(noise)): pipe.send((fast.weights.copy(), part))
        rollouts['four'].append(joined([pipe.recv() for pipe in pipes]))
        return rollouts['four'][-1]
    def in_one_call(*args):
        rollouts['whole'].append(collect(*args))
        return rollouts['whole'][-1]

    agents = {}
    for actor in actors: actor.start()
    try:
        for name, way in (('one', alone), ('four', together), ('whole', in_one_call)):
            monkeypatch.setattr(ppo, 'collect', way)
            agents[name] = learned(WIDE, mode='sync')
    finally:
        for pipe in pipes: pipe.send((None, None))
        for actor in actors: actor.join(20)
    assert [actor.exitcode for actor in actors] == [0]*4 and len(rollouts['four']) == 4
    for by_one, by_four in zip(rollouts['one'], rollouts['four']):
        for field in fields(Rollout): assert np.array_equal(getattr(by_one, field.name), getattr(by_four, field.name)), field.name
    assert agents['one'][1] == agents['four'][1]
    assert np.array_equal(agents['one'][0].fast.weights, agents['four'][0].fast.weights)
    first, whole = rollouts['four'][0], rollouts['whole'][0]
    assert np.array_equal(first.actions, whole.actions) and np.array_equal(first.obs, whole.obs)
    assert np.allclose(first.outputs, whole.outputs, atol=1e-6) and not first.valid.all()

def test_watch_names_what_is_missing(tmp_path, capsys):
    "No run, no folder for the film, another kind of file: each is one line, and no film is begun."
    assert main(['run', 'ppo', '--n-steps', '512', '--seeds', '1', '--episodes', '1', '--out', str(tmp_path)]) == 0
    run = str(only_run(tmp_path, 'ppo').dir)
    for argv, told in (([str(tmp_path/'nowhere')], 'nowhere'), ([run, '--out', str(tmp_path/'missing'/'a.webp')], 'is no folder'),
                       ([run, '--out', str(tmp_path/'a.mp4')], 'expected .webp or .gif')):
        assert main(['watch', *argv]) != 0
        err = capsys.readouterr().err
        assert told in err and err.count('\n') == 1 and 'Traceback' not in err
