"The commands of the language models as a user types them: with bad input, one line and status 2; from texts to shards to a model that talks; on several processes."
import json, os, subprocess, sys
from pathlib import Path
import pytest
from era_nbdev.core.cli import main

pytest.importorskip('tokenizers'); pytest.importorskip('regex')

@pytest.mark.parametrize('words, told', [
    ('run gpt --data none', "'era shards none FILE …'"), ('run gpt --data none --plan', "how many tokens 'none' has is not known"), ('run gpt --judge=-1', '0 or more'), ('shards new {bad}', 'expected .txt, .jsonl or .parquet'), ('shards {bad} {empty}', 'is there already'), ('shards new none.txt', 'none.txt is missing'), ('shards new x.txt --size 0', 'size 0'), ('run gpt --data {bad}', 'is not UTF-8'), ('run gpt --data {empty}', 'too few'), ('run gpt --data .', 'holds no tokens.json'), ('shards new', 'no files are named'), ('run gpt --n-head 5', 'a divisor of n_embd'),
    ('run tokenizer --data none', "data is 'none'"), ('run tokenizer --data {bad}', 'is not UTF-8'), ('run tokenizer --data {empty}', 'is empty'), ('run tokenizer --vocab-size 5', 'expected 257 or more'),
    ('run translate --n-head 5', 'a divisor of n_embd'), ('generate none hi', "no finished run of 'none'"), ('generate . hi', 'is not the folder of a run')])
def test_bad_input(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'bad').write_bytes(b'text \xff'*900); (tmp_path/'empty').write_bytes(b'')
    assert main(words.format(bad='bad', empty='empty').split()) == 2
    err = capsys.readouterr().err.strip()
    assert told in err and err.startswith('era: ') and '\n' not in err

def test_a_trained_model_talks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main('run gpt --n-embd 16 --n-layer 1 --bs 256'.split()) == 0
    capsys.readouterr()
    assert main(['generate', 'gpt', 'def ', '--max-tokens', '30', '--seed', '3']) == 0
    assert capsys.readouterr().out.startswith('def ')
    for args, told in ((['日'], 'does not occur'), ([''], 'the text is empty'), (['x', '--top-p', '3'], 'top_p is 3.0'), (['x', '--max-tokens', '0'], 'max_tokens is 0')):
        assert main(['generate', 'gpt', *args]) == 2 and told in capsys.readouterr().err

TEXT = 'the cat sat on the mat, and the dog sat on the cat. where is the mat? under the dog, said the cat.\n'*400

def test_from_texts_to_a_model_that_talks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('a.txt').write_text(TEXT); Path('b.jsonl').write_text(''.join(json.dumps(dict(text=TEXT[:9000]))+'\n' for _ in range(9)))
    assert main('run tokenizer --data a.txt --vocab-size 280'.split()) == 0
    tok = next(Path('era_runs/tokenizer').glob('*/tokenizer.json'))
    assert main(['shards', 'corpus', 'a.txt', 'b.jsonl', '--tokenizer', str(tok), '--hold-out', '2000', '--size', '3000']) == 0
    assert 'held out' in capsys.readouterr().out and len([*Path('corpus/train').glob('*.npy')]) > 1
    assert main('run gpt --data corpus --n-embd 32 --n-layer 1 --bs 4 --block-size 32 --judge 1500'.split()) == 0
    assert main('run gpt --data corpus --n-embd 32 --n-layer 1 --bs 4 --block-size 32'.split()) == 0
    assert 'bits_per_byte' in capsys.readouterr().out
    assert main(['generate', 'gpt', 'the cat', '--max-tokens', '8']) == 0
    assert capsys.readouterr().out.startswith('the cat')
    assert main('run gpt --data corpus --vocab-size 200'.split()) == 2 and 'vocab_size is 200' in capsys.readouterr().err
    assert main('run gpt --data corpus --plan'.split()) == 0 and 'FLOP' in capsys.readouterr().out
    (Path('corpus')/'tokenizer.json').unlink() # the run has its own
    assert main(['generate', 'gpt', 'the cat', '--max-tokens', '8']) == 0
    out = capsys.readouterr()
    assert out.out.startswith('the cat') and 'has changed since this model was trained' in out.err

def test_a_run_outlives_its_text(tmp_path, monkeypatch, capsys):
    "The vocabulary of a private text lies in the run's folder: after an edit, a move, and from another folder the model says the same."
    monkeypatch.chdir(tmp_path)
    Path('my.txt').write_text(TEXT[:9000])
    assert main('run gpt --data my.txt --n-embd 16 --n-layer 1 --n-head 2 --block-size 16'.split()) == 0
    run = str(next(Path('era_runs/gpt').resolve().iterdir()))
    (tmp_path/'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path/'elsewhere')
    def says():
        capsys.readouterr()
        assert main(['generate', run, 'the cat ', '--max-tokens', '20', '--seed', '1']) == 0
        return capsys.readouterr()
    at_first = says()
    assert at_first.err == ''
    text = tmp_path/'my.txt'
    text.write_text(text.read_text().replace('e', 'é'))
    edited = says()
    assert edited.out == at_first.out and 'my.txt has changed since this model was trained' in edited.err
    text.rename(tmp_path/'other.txt')
    assert says() == at_first

def test_counting_kept_bytes_frees_them():
    "`--plan` counts what autograd keeps on small models, again and again: nothing of them may stay."
    from era_nbdev.llm.budget import kept_bytes
    from era_nbdev.llm.gpt import modern
    status = Path('/proc/self/status')
    if not status.exists(): pytest.skip('needs Linux')
    def megabytes(): return int(next(l for l in status.read_text().splitlines() if l.startswith('VmRSS')).split()[1])/1024
    c = modern(vocab_size=1000, block_size=512, n_layer=2, n_head=2, n_embd=128)
    size = kept_bytes(c, 512)/2**20
    before = megabytes()
    for _ in range(10): kept_bytes(c, 512)
    assert size > 10 and megabytes()-before < 3*size

def test_loading_holds_one_copy(tmp_path):
    "A checkpoint is read array by array: the peak stays below two and a half times the model, the mapped file included."
    import torch
    from era_nbdev.llm.checkpoints import load_hf, save_hf
    from era_nbdev.llm.gpt import GPT, modern
    clear, status = Path('/proc/self/clear_refs'), Path('/proc/self/status')
    if not status.exists(): pytest.skip('needs Linux')
    model = GPT(modern(vocab_size=3000, block_size=32, n_layer=12, n_head=8, n_embd=512))
    size = 4*model.count()
    save_hf(model, tmp_path/'model')
    del model
    def kilobytes(name): return int(next(l for l in status.read_text().splitlines() if l.startswith(name)).split()[1])
    try: clear.write_text('5') # forget the peak
    except OSError: pytest.skip('the peak cannot be reset here')
    before = kilobytes('VmRSS')
    model = load_hf(tmp_path/'model')
    assert 1024*(kilobytes('VmHWM')-before) < 2.5*size
    assert torch.isfinite(model.wte.weight).all()

STORIES = os.environ.get('ERA_DATA') and Path(os.environ['ERA_DATA'])/'stories260k'

@pytest.mark.skipif(not STORIES or not STORIES.exists(), reason='needs stories260k')
def test_the_documented_story(capsys):
    assert main(['generate', str(STORIES), 'Once upon a time', '--temperature', '0']) == 0
    assert capsys.readouterr().out.startswith('Once upon a time, there was a little girl named Lily. She loved to play outside in the park. '
                                              'One day, she saw a big, red ball.')

def test_a_folder_of_the_hub_talks(tmp_path, monkeypatch, capsys):
    from era_nbdev.llm.checkpoints import save_hf
    from era_nbdev.llm.gpt import GPT, modern
    from era_nbdev.llm.tokenizers import train_bpe
    monkeypatch.chdir(tmp_path)
    tok = train_bpe(TEXT, 280, special=['<|endoftext|>']); save_hf(GPT(modern(vocab_size=281, block_size=32, n_layer=1, n_head=2, n_embd=32)), 'model')
    assert main(['generate', './model', 'the cat']) == 2 and 'tokenizer.json is missing' in capsys.readouterr().err
    tok.save('model/tokenizer.json')
    assert main(['generate', './model', 'the cat', '--max-tokens', '50']) == 0 and capsys.readouterr().out.startswith('the cat')
    train_bpe(TEXT, 270).save('model/tokenizer.json')
    assert main(['generate', './model', 'the cat']) == 2 and 'does not belong to it' in capsys.readouterr().err
    whole = Path('model/model.safetensors').read_bytes(); Path('model/model.safetensors').write_bytes(whole[:-9])
    assert main(['generate', './model', 'the cat']) == 2 and 'damaged or cut off' in capsys.readouterr().err

def test_several_processes_train_as_one(tmp_path):
    "The losses of two processes that share each batch are those of one."
    Path(tmp_path/'a.txt').write_text(TEXT); words = 'run gpt --data a.txt --n-embd 32 --n-layer 1 --bs 8 --block-size 32 --device cpu'.split(); rows = []
    for world in (1, 2):
        command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(world), '-m', 'era_nbdev.core.cli', *words, '--out', f'runs{world}']
        r = subprocess.run(command, cwd=tmp_path, env=os.environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True); assert r.returncode == 0, r.stderr
        found = [d for d in (tmp_path/f'runs{world}'/'gpt').iterdir() if (d/'summary.json').exists()]; assert len(found) == 1
        rows.append([json.loads(l) for l in (found[0]/'metrics.jsonl').read_text().splitlines()])
        assert json.loads((found[0]/'summary.json').read_text())['processes'] == world
    losses = [[o['loss'] for o in r if 'loss' in o] for r in rows]
    assert len(losses[0]) == len(losses[1]) > 50 and max(abs(a-b) for a, b in zip(*losses)) < 1e-3
    r = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m', 'era_nbdev.core.cli', *words, '--bs', '7'], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode and 'a multiple of the 2 processes' in r.stderr

def test_a_registered_text_is_not_a_folder_of_its_name(tmp_path, monkeypatch):
    "A folder called like the data set made a run say that its data had changed."
    from era_nbdev.llm.pretraining import data_checksum
    monkeypatch.chdir(tmp_path)
    before = data_checksum('pydocs')
    (tmp_path/'pydocs').mkdir()
    assert data_checksum('pydocs') == before

def test_the_loss_is_that_of_the_kept_weights(tmp_path):
    from era_nbdev.core.run import launch, settings
    from era_nbdev.foundations.callbacks import EMA
    from era_nbdev.llm.corpus import head_of
    from era_nbdev.llm.pretraining import evaluate
    (tmp_path/'t.txt').write_text('the quick brown fox jumps over the lazy dog. '*60, encoding='utf-8')
    exp = settings('gpt', data=str(tmp_path/'t.txt'), n_layer=1, n_embd=16, block_size=16, bs=8)
    run = launch(exp, device='cpu', out=str(tmp_path/'runs'), callbacks=[EMA(.9)])
    model, corpus = run.experiment().language_model(run)
    assert abs(evaluate(model, head_of(corpus.valid, 0), 16)-run.summary['valid_loss']) < 1e-5
