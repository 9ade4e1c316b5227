"Generation as a library and as a command: what users type, and what earlier versions got wrong."
import os
import warnings
from pathlib import Path

import pytest
import torch

from era_nbdev.core.cli import main
from era_nbdev.llm.generate import Sampling, generate, stream, text_stream
from era_nbdev.llm.gpt import GPT, modern
from era_nbdev.llm.speculation import speculate

def random_model(seed=0, **kw):
    torch.manual_seed(seed)
    model = GPT(modern(**dict(vocab_size=12, block_size=32, n_layer=1, n_head=2, n_embd=16) | kw)).eval()
    for p in model.parameters(): p.data.normal_(0, .5)
    return model

def test_padding_is_not_punished():
    prompts, s = [[3], [5, 4, 3, 2, 1, 9, 8]], Sampling(0., repetition_penalty=1.5)
    for seed in range(12):
        model = random_model(seed, n_layer=2, n_embd=32, n_head=4)
        assert generate(model, prompts, 12, s)[0] == generate(model, prompts[:1], 12, s)[0]

@pytest.mark.parametrize('end', [0, 5])
def test_one_id_is_a_stop_token(end):
    model = random_model(0)
    for seed in range(20):
        s = Sampling(1.5, seed=seed)
        free = generate(model, [[1]], 20, s)[0]
        cut = free[:free.index(end)+1] if end in free else free
        assert generate(model, [[1]], 20, s, stop=end)[0] == cut
    greedy = Sampling(0.)
    assert speculate(model, random_model(7), [1], 20, 4, greedy, stop=end)[0] == generate(model, [[1]], 20, greedy, end)[0]

def test_one_string_is_a_stop_string():
    def decode(ids): return bytes(ids).decode(errors='replace')
    assert ''.join(text_stream(b'text STOP more', decode, 'STOP')) == 'text '

def test_streaming_decodes_each_token_a_bounded_number_of_times():
    decoded = 0
    def decode(ids):
        nonlocal decoded
        decoded += len(ids)
        return bytes(ids).decode(errors='replace')
    n = 4000
    assert ''.join(text_stream(b'x'*n, decode)) == 'x'*n
    assert decoded < 20*n

@pytest.mark.parametrize('kw, told', [(dict(seed=2**63), 'seed'), (dict(temperature=float('inf')), 'temperature'),
                                      (dict(repetition_penalty=1e-40), 'repetition_penalty')])
def test_settings_that_would_overflow_are_refused(kw, told):
    with pytest.raises(ValueError, match=told): Sampling(**kw)

def test_a_tiny_temperature_is_greedy():
    model = random_model(0)
    assert generate(model, [[1]], 9, Sampling(1e-40)) == generate(model, [[1]], 9)

def test_the_end_of_the_context_is_said():
    model = random_model(0)
    with pytest.warns(UserWarning, match='context of 32 tokens is full: the text ends after 5 of 40 tokens'):
        assert len(generate(model, [[1]*28], 40)[0]) == 5
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        generate(model, [[1]*28], 5)

def test_bad_input_is_an_error_at_the_call():
    with pytest.raises(ValueError, match='a prompt is empty'): stream(random_model(0), [[]])
    with pytest.raises(ValueError, match='max_tokens is 0'): stream(random_model(0), [[1]], 0)

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('generate')
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path('text.txt').write_text(Path(__file__).read_text(encoding='utf-8')*3, encoding='utf-8') # the help pages of Python take a minute
        for block in (1, 16):
            words = f'run gpt --data text.txt --n-embd 16 --n-layer 1 --n-head 1 --bs 256 --block-size {block} --epochs 1'.split()
            assert main([*words, '--out', f'runs{block}']) == 0
    finally: os.chdir(before)
    return folder

@pytest.mark.parametrize('args, told', [('--max-tokens 0', 'max_tokens is 0'), ('--seed 9223372036854775808', 'seed is'), ('--temperature nan', 'temperature is nan'), ('--stop=', 'a stop string is empty')])
def test_nothing_is_printed_before_an_error(trained, args, told, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert main(['generate', 'gpt', 'def ', '--out', 'runs16', *args.split()]) == 2
    said = capsys.readouterr()
    assert said.out == '' and told in said.err

@pytest.mark.parametrize('block', [1, 16])
def test_a_model_with_any_context_continues_any_text(trained, block, monkeypatch, capsys):
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert main(['generate', 'gpt', 'def value', '--out', f'runs{block}', '--max-tokens', '40', '--temperature', '1e-40']) == 0
    assert len(capsys.readouterr().out) == len('def value')+40+1

STORY = ('Once upon a time, there was a little girl named Lily. She loved to play outside in the park. '
         'One day, she saw a big, red ball.')

def test_a_real_model_tells_its_story(capsys):
    folder = Path(os.environ.get('ERA_DATA', ''))/'stories260k'
    if not (folder/'model.safetensors').is_file(): pytest.skip('ERA_DATA holds no stories260k')
    assert main(['generate', str(folder), 'Once upon a time', '--temperature', '0', '--max-tokens', '120']) == 0
    assert capsys.readouterr().out.startswith(STORY)
