"The Learner on batches, loaders, losses and interruptions that a page has no room for."
import math, random
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from era_nbdev.core.run import Diverged, Experiment, RunError, create, launch, settings
from era_nbdev.foundations.learner import Callback, Learner, Mean, accuracy
from era_nbdev.foundations.callbacks import EMA, EarlyStopping, Progress, Track, lr_find, weights
from era_nbdev.foundations.schedules import one_cycle
from era_nbdev.foundations.tensors import Batches

G = torch.Generator().manual_seed(0)
A, B, Y = torch.randn(12, 4, generator=G), torch.randn(12, 2, generator=G), torch.randint(2, (12,), generator=G)
STARTS = 0, 4, 8

class One(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lin = nn.Linear(4, 2)
    def forward(self, a): return self.lin(a)

class Two(One):
    "Two inputs, several outputs."
    def forward(self, a, b): return dict(sum=self.lin(a)+b, other=(self.lin(a), 'words'))

def two_loss(pred, y): return F.cross_entropy(pred['sum'], y)
def right(pred, y): return np.float32((pred['sum'].argmax(-1) == y).float().mean().item())
class Losses(Callback):
    def before_fit(self, learn): self.all = []
    def after_log(self, learn): self.all += [loss for _, loss, _ in learn.rows]

def weight(learn): return next(learn.model.parameters()).detach().clone()

# ---- batches

FORMS = dict(tuple=lambda i: ((A[i:i+4], B[i:i+4]), Y[i:i+4]), dict=lambda i: [dict(a=A[i:i+4], b=B[i:i+4]), Y[i:i+4]],
             numpy=lambda i: ([A[i:i+4].numpy(), B[i:i+4].numpy()], Y[i:i+4].numpy()))

@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
@pytest.mark.parametrize('form', FORMS)
def test_batches_of_many_forms(form, precision):
    data, lines = [FORMS[form](i) for i in STARTS], []
    learn = Learner(Two(), data, data, two_loss, metrics=[right], cbs=[Progress(lines.append)], precision=precision).fit(2)
    same = Learner(Two(), [FORMS['tuple'](i) for i in STARTS], None, two_loss, precision=precision).fit(2)
    assert torch.equal(weight(learn), weight(same)) and learn.seen == 24
    assert type(learn.history[-1]['right']) is float and len(lines) == 2 and 'right 0.' in lines[0]

def test_a_single_tensor_is_its_own_target():
    learn = Learner(nn.Linear(4, 4), [A], [A], F.mse_loss).fit(3)
    assert learn.history[-1]['train_loss'] < learn.history[0]['train_loss'] and 'valid_loss' in learn.history[0]

@pytest.mark.parametrize('batch,words', [((A, B, Y), 'a batch has 3 parts'), ((A,), 'a batch has 1 parts')])
def test_other_tuples_are_refused(batch, words):
    with pytest.raises(ValueError, match=words): Learner(One(), [batch]).fit(1)

class Stream(IterableDataset):
    def __iter__(self): return iter([(A[i], Y[i]) for i in range(12)])

def test_without_a_length():
    stream = DataLoader(Stream(), 4)
    with pytest.raises(ValueError, match=r'no length.*steps='): Learner(One(), stream).fit(2)
    learn = Learner(One(), stream, stream, metrics=[accuracy]).fit(9, schedule=one_cycle(), steps=7)
    assert (learn.step, learn.total, len(learn.history)) == (7, 7, 3)
    assert Learner(One(), stream).fit(2, steps=7).step == 6
    with pytest.raises(ValueError, match='gave no batch in epoch 2'): Learner(One(), iter(list(stream))).fit(2, steps=9)
    with pytest.raises(ValueError, match='train has no batch'): Learner(One(), DataLoader(TensorDataset(A, Y), 20, drop_last=True)).fit(1)

def test_names_of_metrics():
    for name in ('step', 'time', 'epoch', 'valid_loss'):
        with pytest.raises(ValueError, match=f'{name}.*taken'): Learner(One(), [], metrics=[Mean(accuracy, name)])
    with pytest.raises(ValueError, match='taken'): Learner(One(), [], metrics=[accuracy, accuracy])

def test_metrics_of_all_kinds(tmp_path):
    class Table:
        name = 'table'
        def reset(self): self.m = torch.zeros(2, 2)
        def update(self, pred, y): self.m += 1
        def compute(self): return self.m
    run = create(Speed(), out=str(tmp_path), device='cpu')
    learn = Learner(One(), [(A, Y)], [(A, Y)], metrics=[Table(), accuracy], cbs=[Track(run), Progress(lambda line: None)]).fit(1)
    assert learn.history[0]['table'] == [[1, 1], [1, 1]] == run.metrics('table')[0]['table']

def test_state_before_fit():
    with pytest.raises(RunError, match='call fit first'): Learner(One(), []).state_dict()
    with pytest.raises(ValueError, match='nothing to evaluate on'): Learner(One(), []).evaluate()

class Speed(Experiment):
    name = 'speed'
from dataclasses import dataclass
Speed = dataclass(Speed)

# ---- losses weighted by what they count

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(9, 9)
    def forward(self, ids): return self.table(ids)

IDS, WANTED = torch.randint(9, (8, 6), generator=G), torch.randint(9, (8, 6), generator=G)
WANTED[:4, 1:] = -100 # rows 0-3 keep one target of six

def word_loss(pred, y):
    return F.cross_entropy(pred.flatten(0, 1), y.flatten(), ignore_index=-100, reduction='sum'), (y >= 0).sum()

def step_on(bs, accumulate, **more):
    kept, data = Losses(), Batches(IDS, WANTED, bs)
    learn = Learner(Words(), data, data, word_loss, torch.optim.SGD, accumulate=accumulate, cbs=[kept], **more).fit(1, .1)
    return weight(learn), kept.all[0], learn.history[-1]['valid_loss'], learn.history[-1]['train_loss']

@pytest.mark.parametrize('more', [{}, dict(clip=.01), dict(precision='bf16')])
def test_uneven_padding_accumulates_exactly(more):
    whole = step_on(8, 1, **more)
    for bs in (4, 2, 1):
        parts = step_on(bs, 8//bs, **more)
        assert (whole[0]-parts[0]).abs().max() < 1e-6
        assert all(abs(a-b) < 1e-5 for a, b in zip(whole[1:], parts[1:]))

def test_train_loss_is_weighted_by_tokens():
    learn = Learner(Words(), Batches(IDS, WANTED, 4), None, word_loss, torch.optim.SGD).fit(1, 1e-12)
    total, count = word_loss(Words()(IDS), WANTED)
    assert abs(learn.history[0]['train_loss']-(total/count).item()) < 1e-5

def test_nothing_counted():
    "One batch of padding alone changes nothing; an epoch or a validation of it gave 0 or nan without a word."
    empty = (IDS, torch.full_like(IDS, -100))
    def fitted(*batches): return Learner(Words(), list(batches), None, word_loss, torch.optim.SGD).fit(1, .1)
    mixed, alone = fitted((IDS, WANTED), empty), fitted((IDS, WANTED))
    assert torch.equal(weight(mixed), weight(alone))
    assert mixed.history[0]['train_loss'] == alone.history[0]['train_loss']
    with pytest.raises(ValueError, match='counted nothing in epoch 1'): fitted(empty)
    with pytest.raises(ValueError, match='counted nothing in validation'): alone.evaluate([empty])

def words_of_rank(rank, world, path, queue):
    import torch.distributed as dist
    dist.init_process_group('gloo', init_method=f'file://{path}', rank=rank, world_size=world)
    rows = [(IDS[rank::world], WANTED[rank::world])] if world == 1 else [(IDS[4*rank:4*rank+4], WANTED[4*rank:4*rank+4])]
    kept = Losses()
    learn = Learner(Words(), rows, None, word_loss, torch.optim.SGD, cbs=[kept], wrap=nn.parallel.DistributedDataParallel).fit(1, .1)
    queue.put((rank, weight(learn).numpy(), kept.all[0]))
    dist.destroy_process_group()

def test_ranks_with_uneven_padding(tmp_path):
    import multiprocessing
    ctx = multiprocessing.get_context('spawn')
    queue = ctx.Queue()
    ps = [ctx.Process(target=words_of_rank, args=(r, 2, tmp_path/'meet', queue)) for r in range(2)]
    for p in ps: p.start()
    found = [queue.get(timeout=120) for _ in ps]
    for p in ps: p.join()
    whole = step_on(8, 1)
    for _, w, loss in found: assert np.abs(w-whole[0].numpy()).max() < 1e-6 and abs(loss-whole[1]) < 1e-6

# ---- averages

class Tied(nn.Module):
    def __init__(self, transposed=False):
        super().__init__()
        torch.manual_seed(2)
        self.wte, self.head, self.norm = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False), nn.BatchNorm1d(4)
        self.head.weight = self.wte.weight
    def forward(self, ids): return self.head(self.norm(self.wte(ids[:, 0])))

def tied_learner(**more):
    data = Batches(IDS, WANTED[:, 0], 4)
    return Learner(Tied(), data, data, cbs=[EMA(.9, warm=False)], **more)

def test_tied_weights_survive_validation():
    learn = tied_learner().fit(3, 1e-2)
    before = learn.model.wte.weight.detach().clone()
    learn.evaluate()
    assert torch.equal(learn.model.wte.weight, before)
    avg = learn.cbs[0].avg
    assert torch.equal(avg['wte.weight'], avg['head.weight']) and not torch.equal(avg['wte.weight'], before)
    alone = Learner(Tied(), Batches(IDS, WANTED[:, 0], 4)).fit(3, 1e-2)
    assert torch.equal(alone.model.wte.weight, before)

def test_average_of_a_tied_weight_is_right():
    seen = []
    class Watch(Callback):
        def before_fit(self, learn): self.avg = learn.model.wte.weight.detach().clone()
        def after_step(self, learn): self.avg.lerp_(learn.model.wte.weight.detach(), .1)
    learn = tied_learner()
    learn.cbs.append(watch := Watch())
    learn.fit(2, 1e-2)
    assert (learn.cbs[0].avg['head.weight']-watch.avg).abs().max() < 1e-7

@pytest.mark.parametrize('more', [dict(channels_last=True), dict(wrap=lambda m: nn.Sequential(m))])
def test_average_with_layouts_and_wrappers(more):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    data = [(torch.randn(6, 1, 4, 4, generator=G), torch.randint(2, (6,), generator=G))]*3
    learn = Learner(net, data, data, cbs=[EMA(.5)], **more).fit(2, 1e-2)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    learn.evaluate()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    fresh = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    fresh.load_state_dict(weights(learn))

def test_average_moves_to_the_model():
    ema = EMA(.9)
    learn = tied_learner()
    learn.fit(1)
    kept = learn.cbs[0].state_dict()
    ema.load_state_dict(kept)
    class There: model, step = Tied().to('meta'), 3 # a run that is resumed
    ema.before_fit(There)
    ema.after_step(There)
    assert {t.device.type for t in ema.avg.values()} == {'meta'}

def test_average_of_another_model_is_refused():
    ema = EMA(.9)
    learn = Learner(One(), [(A, Y)], cbs=[ema]).fit(1)
    class Resumed: model, step = Tied(), 3
    with pytest.raises(RunError, match='another model'): ema.before_fit(Resumed)
    assert torch.equal(ema.avg['wte.weight'], Resumed.model.wte.weight)
    other = Learner(Tied(), Batches(IDS, WANTED[:, 0], 4), cbs=[ema]).fit(1) # a new run starts a new average
    assert set(ema.avg) == set(other.model.state_dict()) and ema.n == other.step

# ---- stopping

@pytest.mark.parametrize('first', [False, True])
def test_early_stopping_in_any_place(first, tmp_path):
    run = create(Speed(), out=str(tmp_path), device='cpu')
    stop = EarlyStopping(patience=1, delta=100.)
    cbs = [stop, Track(run)] if first else [Track(run), stop]
    learn = Learner(One(), [(A, Y)]*4, [(A, Y)], cbs=cbs).fit(9)
    assert len(learn.history) == 2 and run.load_state()['step'] == 8
    assert torch.equal(run.load_into(One()).lin.weight, learn.model.lin.weight)
    assert run.load_state()['history'] == learn.history

def test_launch_with_early_stopping(tmp_path, monkeypatch):
    monkeypatch.setattr(Track.__init__, '__defaults__', (1, 0.)) # a checkpoint at every step
    run = launch(settings('mnist', epochs=8, valid=.2, hidden=(16,)), device='cpu', out=str(tmp_path), callbacks=[EarlyStopping(patience=1, delta=100.)])
    confusion = torch.tensor(run.summary['confusion'])
    assert abs(confusion.trace().item()/confusion.sum().item()-run.summary['accuracy']) < 1e-6
    assert len(run.summary['curve']) == 2

def test_stop_in_the_middle_of_an_epoch():
    class Here(Callback):
        def after_step(self, learn): learn.stop = learn.step == 2
    learn = Learner(One(), [(A, Y)]*5, [(A, Y)], cbs=[Here()]).fit(3)
    assert (learn.step, len(learn.history)) == (2, 1)
    assert learn.history[0]['valid_loss'] == learn.evaluate()['valid_loss']

def test_after_fit_is_called_for_all():
    called = []
    class Loud(Callback):
        def after_fit(self, learn): called.append(1); raise KeyError('x')
    class Quiet(Callback):
        def after_fit(self, learn): called.append(2)
    with pytest.raises(KeyError): Learner(One(), [(A, Y)], cbs=[Loud(), Quiet()]).fit(1)
    assert called == [1, 2]

def test_losses_before_divergence_are_logged(tmp_path):
    run = create(Speed(), out=str(tmp_path), device='cpu')
    calls = iter(range(99))
    def loss(pred, y): return pred.sum()*0+(math.nan if next(calls) == 2 else 1.)
    with pytest.raises(Diverged, match='step 3'): Learner(One(), [(A, Y)]*9, None, loss, cbs=[Track(run)]).fit(1)
    assert [o['step'] for o in run.metrics('loss')] == [1, 2] and not (run.dir/'checkpoint.safetensors').exists()

# ---- resuming

class Noisy(Dataset):
    def __init__(self): self.rng, self.py = np.random.default_rng(0), random.Random(0)
    def __len__(self): return 12
    def __getitem__(self, i): return A[i]+float(self.rng.normal())+self.py.random(), Y[i]

def sampler():
    s = torch.utils.data.WeightedRandomSampler(torch.ones(12), 12, generator=torch.Generator().manual_seed(5))
    return DataLoader(TensorDataset(A, Y), 2, sampler=s)

LOADERS = dict(generator=lambda: DataLoader(TensorDataset(A, Y), 2, shuffle=True, generator=torch.Generator().manual_seed(3)),
               sampler=sampler, data=lambda: DataLoader(Noisy(), 2, shuffle=True), plain=lambda: DataLoader(TensorDataset(A, Y), 2, shuffle=True),
               workers=lambda: DataLoader(TensorDataset(A, Y), 2, shuffle=True, num_workers=1, generator=torch.Generator().manual_seed(3)))

@pytest.mark.parametrize('at', [3, 6, 9, 14])
@pytest.mark.parametrize('name', LOADERS)
def test_resumes_with_generators_of_the_loader(name, at):
    if name == 'workers' and at != 9: pytest.skip('slow')
    class Keep(Callback):
        def after_step(self, learn):
            if learn.step == at: kept.append(torch.load(saved(learn.state_dict()), weights_only=True))
    import io
    def saved(state):
        buffer = io.BytesIO(); torch.save(state, buffer); buffer.seek(0); return buffer
    kept = []
    torch.manual_seed(0)
    whole = Learner(One(), LOADERS[name](), cbs=[Keep()]).fit(3, .1)
    torch.manual_seed(99)
    again = Learner(One(), LOADERS[name](), cbs=[Keep()]).fit(3, .1, resume=kept[0])
    assert torch.equal(weight(whole), weight(again))

def test_lr_find_leaves_the_loader_alone():
    def train(find):
        torch.manual_seed(0)
        learn = Learner(One(), LOADERS['generator']())
        if find: lr_find(learn, steps=20)
        return weight(learn.fit(2, .1))
    assert torch.equal(train(False), train(True))

def test_kept_workers_are_refused(tmp_path):
    loader = DataLoader(TensorDataset(A, Y), 2, num_workers=1, persistent_workers=True)
    learn = Learner(One(), loader)
    learn.begin(1, .1, one_cycle(), 6)
    learn.opt = torch.optim.SGD(learn.model.parameters(), lr=.1)
    state = learn.state_dict()
    with pytest.raises(RunError, match='persistent_workers=False'): Learner(One(), LOADERS['plain']()).fit(1, resume=state)

@pytest.mark.parametrize('key', ['step', 'total', 'cbs', 'random', 'model'])
def test_damaged_states(key):
    learn = Learner(One(), [(A, Y)]).fit(1)
    state = learn.state_dict()
    del state[key]
    with pytest.raises(RunError, match='does not fit'): Learner(One(), [(A, Y)]).fit(1, resume=state)

def test_callbacks_of_another_kind_are_refused():
    state = Learner(One(), [(A, Y)], cbs=[EMA(.5)]).fit(1).state_dict()
    with pytest.raises(RunError, match=r'1 callbacks \(EMA\), this run needs that of 1 \(EarlyStopping\)'):
        Learner(One(), [(A, Y)], cbs=[EarlyStopping()]).fit(1, resume=state)

# ---- the learning-rate finder

def test_lr_find_puts_back_after_an_interruption():
    calls = iter(range(99))
    def loss(pred, y):
        if next(calls) == 5: raise KeyboardInterrupt
        return F.cross_entropy(pred, y)
    learn = Learner(One(), [(A, Y)], None, loss)
    with pytest.raises(KeyboardInterrupt): lr_find(learn)
    assert torch.equal(weight(learn), One().lin.weight.detach())

def test_lr_find_with_negative_losses():
    lrs, losses, best = lr_find(Learner(One(), [(A, Y)], None, lambda pred, y: F.cross_entropy(pred, y)-5), steps=40)
    assert len(lrs) == 40 and lrs[0] <= best <= lrs[-1] and max(losses) < 0

@pytest.mark.parametrize('more,words', [(dict(steps=1), 'steps is 1'), (dict(lo=0), 'lo is 0'), (dict(lo=2.), 'expected 0 < lo < hi')])
def test_lr_find_settings(more, words):
    with pytest.raises(ValueError, match=words): lr_find(Learner(One(), [(A, Y)]), **more)

# ---- images without their data

def test_a_run_is_asked_without_its_data(tmp_path, monkeypatch):
    run = launch(settings('mnist', epochs=1, hidden=(8,)), device='cpu', out=str(tmp_path))
    from era_nbdev.foundations import drawings, mnist
    def gone(name): raise OSError('the data set is gone')
    monkeypatch.setattr(mnist, 'load', gone)
    from era_nbdev.core.run import Run
    x = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    alone = Run(run.dir)
    assert alone.predict(x).shape == (2, 10) and alone.explain(x[:1])['saliency'].shape == (8, 8)
    assert drawings.app_for_run(alone).test_client().get('/health').json['size'] == 8

def test_a_callback_without_state_may_be_another_in_another_process():
    torch.manual_seed(0)
    data = Batches(torch.randn(8, 3), torch.randint(2, (8,)), 4)
    first = Learner(torch.nn.Linear(3, 2), data, cbs=[EarlyStopping('train_loss'), Progress(lambda line: None)]).fit(2, .1)
    state = first.state_dict() | dict(epoch=1, batch=0, step=2)
    other = Learner(torch.nn.Linear(3, 2), data, cbs=[EarlyStopping('train_loss'), Callback()])
    assert other.fit(2, .1, resume=state).step == 4

# ---- what is no batch, and what counts nothing

@pytest.mark.parametrize('batch,words', [
    ((['a', 'b'], Y[:2]), "the x of a batch is \\['a', 'b'\\], expected a tensor"),
    ((A, None), 'the y of a batch is None'), (None, 'the x of a batch is None'),
    ((A.double(), Y), 'the x of a batch is float64.*x.float'), ((A.double().numpy(), Y), 'float64')])
def test_no_batches(batch, words):
    with pytest.raises(ValueError, match=words): Learner(One(), [batch]).fit(1)
    with pytest.raises(ValueError, match=words): Learner(One(), []).evaluate([batch])

def test_a_model_in_double_takes_double():
    assert Learner(One().double(), [(A.double(), Y)]).fit(1).step == 1

def test_a_mean_over_padding_alone():
    padding = torch.full_like(Y, -100)
    with pytest.raises(Diverged, match='all padding'): Learner(One(), [(A, padding)]).fit(1)
    with pytest.warns(UserWarning, match='all padding'): found = Learner(One(), []).evaluate([(A, padding)])
    assert math.isnan(found['valid_loss'])

def test_a_constant_channel_is_scaled():
    from era_nbdev.foundations.mnist import Scaled
    x = torch.full((4, 2, 3, 3), 7, dtype=torch.uint8)
    x[:2, 1] = 9
    scaled = Scaled(nn.Identity(), x)(x)
    assert scaled.isfinite().all() and (scaled[:, 0] == 0).all() and abs(scaled[:, 1].std().item()-1) < 1e-5
