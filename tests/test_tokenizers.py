"Tokenizers on whole real texts: identical ids to tiktoken and Hugging Face, 10,000 strings of Unicode, and training that streams. Skipped without the data or the packages."
import json, os, random, resource, subprocess, sys, unicodedata
from pathlib import Path
import pytest

pytest.importorskip('tiktoken'); pytest.importorskip('tokenizers')
from era_nbdev.core.data import dataset, find, load
from era_nbdev.llm.fast_tokenizers import accelerated
from era_nbdev.llm.fast_training import hf_bpe, train_fast
from era_nbdev.llm.tokenizer_files import read_gpt2, read_tiktoken
from era_nbdev.llm.tokenizers import GPT2, GPT4, train_bpe

STORIES = Path(os.environ.get('ERA_DATA', 'none'))/'stories260k' # a trained Llama, not a registered data set

def have(*names): return pytest.mark.skipif(not all(find(dataset(n)) for n in names), reason='the data is not on this machine')

def strings(n, seed=0):
    r = random.Random(seed)
    named = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ('Cn', 'Cs', 'Co')]
    kinds = [named, named[:3000], [*'\u0301\u0308\u200d\ufe0f\u202e', *map(chr, range(32)), *map(chr, range(0x1f300, 0x1f600))], [chr(c) for c in range(0x590, 0x700)]]
    return [''.join(r.choices(r.choice(kinds), k=r.randint(1, 40))) for _ in range(n)]

def texts(): return [load('tiny_shakespeare'), *('\n'.join(o[i] for o in part) for part in load('multi30k').values() for i in (0, 1))]

@have('tokenizers', 'tiny_shakespeare', 'multi30k')
@pytest.mark.parametrize('name', ['gpt2', 'cl100k'])
def test_ids_of_openai(name):
    import tiktoken
    files = load('tokenizers')
    ours = read_gpt2(files['gpt2/vocab.bpe']) if name == 'gpt2' else read_tiktoken(files['cl100k_base/cl100k_base.tiktoken'])
    ranks = {t: i for i, t in enumerate(ours.vocab) if t is not None and i not in ours.special.values()}
    theirs = tiktoken.Encoding(name, pat_str=ours.pattern, mergeable_ranks=ranks, special_tokens=ours.special)
    ours = accelerated(ours).start()
    for t in texts(): assert ours.encode(t) == theirs.encode_ordinary(t) and ours.decode(ours.encode(t)) == t
    for s in strings(10_000): assert ours.encode(s) == theirs.encode_ordinary(s) and ours.decode(ours.encode(s)) == s, ascii(s)
    with pytest.raises(ValueError, match='half of a surrogate pair'): ours.encode('a\ud800')

@have('tiny_shakespeare', 'multi30k')
@pytest.mark.parametrize('pattern', [GPT2, GPT4])
def test_merges_of_hugging_face(pattern):
    ts = texts(); ours, theirs = train_fast(iter(ts), 4096, pattern), hf_bpe(ts, 4096, pattern)
    from era_nbdev.llm.tokenizers import visible
    assert json.loads(theirs.to_str())['model']['merges'] == [[visible(ours.vocab[l]), visible(ours.vocab[r])] for l, r in ours.merges]
    for t in ts[:3]: assert ours.encode(t) == theirs.encode(t).ids

def test_random_bytes_come_back():
    tok, r = accelerated(train_bpe(load('pydocs')[:100_000], 1000)).start(), random.Random(1)
    for n in range(2000): b = r.randbytes(n % 60); assert tok.decode_bytes(tok.encode_bytes(b)) == b

def test_a_large_file_streams(tmp_path):
    text, path = load('pydocs'), tmp_path/'large.txt'
    with open(path, 'w', encoding='utf-8') as f:
        for _ in range(100_000_000//len(text.encode())+1): f.write(text)
    code = f"""if True:
        from era_nbdev.core.run import peak_memory
        from era_nbdev.llm.fast_tokenizers import scan
        from era_nbdev.llm.fast_training import learn_compiled, train_fast
        from era_nbdev.llm.tokenizer_files import read_text
        from era_nbdev.llm.tokenizers import GPT4
        scan('a b', GPT4) # Numba, and its memory, belong to no file
        learn_compiled([[1, 2]], [1], 1, 256)
        before = peak_memory()
        t = train_fast(read_text({str(path)!r}), 2000)
        print(peak_memory()-before, t.vocab_size)"""
    mb, n = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert int(n) == 2000 and int(mb) < 150, f'{mb} MB more for a file of 100 MB'

def trained_sentencepiece(path, **options):
    import io
    spm, written = pytest.importorskip('sentencepiece'), io.BytesIO()
    how = dict(vocab_size=1500, model_type='bpe', normalization_rule_name='identity', byte_fallback=True, allow_whitespace_only_pieces=True) | options
    spm.SentencePieceTrainer.train(sentence_iterator=iter(load('pydocs')[:200_000].splitlines()), model_writer=written, num_threads=1, minloglevel=2, **how)
    path.write_bytes(written.getvalue())
    return path

def same_as_sentencepiece(path, n):
    import sentencepiece
    from era_nbdev.llm.subwords import load_tokenizer
    ours, theirs, r = load_tokenizer(path), sentencepiece.SentencePieceProcessor(model_file=str(path)), random.Random(2)
    spaced = [''.join(r.choices([' ', '  ', '\n', '▁', '<s>', '<0x0A>', 'the', ' the', '1999', 'é', '🙂', '\x00'], k=r.randint(0, 8))) for _ in range(n)]
    for s in strings(n)+spaced+[load('pydocs')[:50_000]]:
        assert ours.encode_ordinary(s) == theirs.encode(s) and ours.decode(ours.encode_ordinary(s)) == theirs.decode(theirs.encode(s)), ascii(s)
    for _ in range(n):
        ids = r.choices(range(r.choice((5, 300, ours.vocab_size))), k=r.randint(0, 9))
        assert ours.decode(ids) == theirs.decode(ids), ids

@pytest.mark.parametrize('options', [dict(remove_extra_whitespaces=False, split_digits=True), {}, dict(byte_fallback=False), dict(add_dummy_prefix=False), dict(split_by_whitespace=False)])
def test_ids_of_sentencepiece(options, tmp_path): same_as_sentencepiece(trained_sentencepiece(tmp_path/'tokenizer.model', **options), 400)

@have('tokenizers')
def test_ids_of_llama2(tmp_path):
    from tokenizers import Tokenizer
    from era_nbdev.llm.subwords import load_tokenizer
    path = next(f for k, f in load('tokenizers').items() if k.startswith('llama2'))
    same_as_sentencepiece(path, 1500)
    ours = load_tokenizer(path)
    ours.save(tmp_path/'tokenizer.json')
    theirs, again = Tokenizer.from_file(str(tmp_path/'tokenizer.json')), load_tokenizer(tmp_path)
    for s in strings(1000)+[load('pydocs')[:100_000]]: assert theirs.encode(s).ids == again.encode(s, 'all') == ours.encode(s, 'all'), ascii(s)

@pytest.mark.skipif(not (STORIES/'tokenizer.json').exists(), reason='the data is not on this machine')
def test_a_folder_of_the_hub_opens():
    from tokenizers import Tokenizer
    from era_nbdev.llm.subwords import load_tokenizer
    folder = STORIES
    same_as_sentencepiece(folder/'tokenizer.model', 500)
    ours, theirs = load_tokenizer(folder, 512), Tokenizer.from_file(str(folder/'tokenizer.json'))
    for s in [*strings(500), ' a  b', 'a\n\nb', '<s> a', '']: assert ours.encode(s, 'all') == theirs.encode(s).ids, ascii(s)

def test_no_chapter_hides_an_import():
    import era_nbdev
    assert [p.name for p in Path(era_nbdev.__file__).parent.glob('llm/*.py') if p.stem in ('tokenizers', 'tokenizer_files', 'fast_tokenizers', 'fast_training', 'subwords', 'corpus') and 'importlib' in p.read_text()] == []

def all_strings(alphabet, n):
    import itertools
    return (''.join(s) for k in range(1, n+1) for s in itertools.product(alphabet, repeat=k))

def test_reading_in_parts_never_changes_ids(tmp_path):
    from era_nbdev.llm.tokenizer_files import read_text
    from era_nbdev.llm.tokenizers import split
    path, toks = tmp_path/'x.txt', [train_bpe('a a\n\nb 1 .', 258, p) for p in (GPT2, GPT4)]
    for s in all_strings("a \n1.'", 5):
        path.write_text(s, newline='')
        for block in (1, 3):
            parts = [*read_text(path, block)]
            assert ''.join(parts) == s
            for t in toks: assert [p for part in parts for p in split(part, t.pattern)] == split(s, t.pattern), ascii(s)
    for t in toks:
        for s in ('a\n\nb', 'a b\nc', ' a\n b'): assert [*t.encode_iterable(s)] == t.encode(s)

def test_special_tokens_in_text_are_refused_unless_allowed():
    t = train_bpe('abracadabra', 260, '', special=['<|end|>'])
    with pytest.raises(ValueError, match='holds the special token'): t.encode('a<|end|>')
    assert t.encode('<|end|>', 'all') == [259] and t.decode(t.encode('<|end|>', disallowed_special=())) == '<|end|>'
    for bad in ('', 'a', 'ab'):
        with pytest.raises(ValueError, match='special token'): train_bpe('abracadabra', 260, special=[bad])

def test_small_texts_need_no_compiler():
    code = "import sys; from era_nbdev.llm.fast_training import train_fast; t = train_fast('some words and some more words', 270); t.encode('some more'); print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == 'False'

def test_both_encoders_agree():
    for pattern in (GPT2, GPT4, '[a-z]+', ''):
        plain = train_bpe(load('pydocs')[:20_000], 600, pattern)
        quick = accelerated(plain).start()
        for s in strings(300)+[load('pydocs')[:3000]]: assert plain.encode(s) == quick.encode(s) and plain.encode_bytes(s.encode()[:-1]).tolist() == quick.encode_bytes(s.encode()[:-1]).tolist()

@pytest.mark.parametrize('kind', ['one text', 'many documents'])
def test_shards_take_bounded_memory(kind, tmp_path):
    text, path = load('pydocs'), tmp_path/('x.txt' if kind == 'one text' else 'x.jsonl')
    train_bpe(text[:100_000], 500, special=['<|endoftext|>']).save(tmp_path/'t.json')
    with open(path, 'w', encoding='utf-8') as f:
        for _ in range(12): f.write(text if kind == 'one text' else ''.join(json.dumps(dict(text=text[i:i+3000]))+'\n' for i in range(0, len(text), 3000)))
    code = f"""if True:
        from era_nbdev.core.run import peak_memory
        from era_nbdev.llm.corpus import shards
        from era_nbdev.llm.subwords import load_tokenizer
        load_tokenizer({str(tmp_path/'t.json')!r}).start().encode('a b')
        before = peak_memory()
        shards({str(tmp_path/'out')!r}, ({str(path)!r},), tokenizer={str(tmp_path/'t.json')!r}, hold_out=1000)
        print(peak_memory()-before)"""
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    about = json.loads((tmp_path/'out'/'tokens.json').read_text())
    assert 1000 <= about['valid'] < 6000 and about['train'] > 2_000_000 and int(said[-1]) < 300, said

def test_a_forgetful_cache_keeps_whole_tokens():
    "Tokens that merges do not give stay in the cache when it is emptied in the middle of a text."
    from era_nbdev.llm.tokenizers import BPE
    plain = train_bpe(load('pydocs')[:20_000], 400)
    whole = BPE([*plain.vocab, b'qqzz'], plain.merges, GPT4, whole=True)
    quick, text = accelerated(whole).start(), 'qqzz '+' '.join(f'a{i:x}b qqzz' for i in range(150_000))
    ids = quick.encode(text)
    assert ids == whole.encode(text)

def test_the_compiled_trainer_learns_the_same_merges():
    from era_nbdev.llm.fast_training import learn_compiled
    from era_nbdev.llm.tokenizers import BYTES, count_pieces, learn_merges
    pieces = count_pieces(load('pydocs')[:100_000])
    seqs = [[BYTES.index(b) for b in piece] for piece in pieces]
    assert learn_compiled(seqs, [*pieces.values()], 1500, 256) == learn_merges(seqs, [*pieces.values()], 1500, 256)
