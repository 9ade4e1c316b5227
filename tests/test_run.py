"Runs and their folders, settings, several processes, trackers and the command: what a notebook cell cannot test."
import multiprocessing, socket, sys
import pytest, torch
import torch.distributed as dist

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

