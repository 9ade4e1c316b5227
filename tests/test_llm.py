"The commands of the language models with bad input, as a user types them: one line, status 2; and an interrupted run that ends as a whole one."
import pytest
from era_nbdev.core.cli import main

pytest.importorskip('tokenizers'); pytest.importorskip('regex')

@pytest.mark.parametrize('words, told', [
    ('run gpt --data none', "data is 'none'"), ('run gpt --data {bad}', 'is not UTF-8'), ('run gpt --data {empty}', 'too few'), ('run gpt --data .', 'vocab_size is 0'), ('run gpt --n-head 5', 'a divisor of n_embd'),
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
