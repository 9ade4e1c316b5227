"Tokenizers on whole real texts: identical ids to tiktoken and Hugging Face, 10,000 strings of Unicode, and training that streams. Skipped without the data or the packages."
import json, random, resource, subprocess, sys, unicodedata
import pytest

pytest.importorskip('tiktoken'); pytest.importorskip('tokenizers')
from era_nbdev.core.data import dataset, find, load
from era_nbdev.llm.tokenizers import GPT2, GPT4, read_gpt2, read_tiktoken, train_bpe, _hf

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
    for t in texts(): assert ours.encode(t) == theirs.encode_ordinary(t) and ours.decode(ours.encode(t)) == t
    for s in strings(10_000): assert ours.encode(s) == theirs.encode_ordinary(s) and ours.decode(ours.encode(s)) == s, ascii(s)
    with pytest.raises(ValueError, match='half of a surrogate pair'): ours.encode('a\ud800')

@have('tiny_shakespeare', 'multi30k')
@pytest.mark.parametrize('pattern', [GPT2, GPT4])
def test_merges_of_hugging_face(pattern):
    ts = texts(); ours, theirs = train_bpe(iter(ts), 4096, pattern), _hf(ts, 4096, pattern)
    from era_nbdev.llm.tokenizers import visible
    assert json.loads(theirs.to_str())['model']['merges'] == [[visible(ours.vocab[l]), visible(ours.vocab[r])] for l, r in ours.merges]
    for t in ts[:3]: assert ours.encode(t) == theirs.encode(t).ids

def test_random_bytes_come_back():
    tok, r = train_bpe(load('pydocs')[:100_000], 1000), random.Random(1)
    for n in range(2000): b = r.randbytes(n % 60); assert tok.decode_bytes(tok.encode_bytes(b)) == b

def test_a_large_file_streams(tmp_path):
    text, path = load('pydocs'), tmp_path/'large.txt'
    with open(path, 'w', encoding='utf-8') as f:
        for _ in range(100_000_000//len(text.encode())+1): f.write(text)
    code = "from era_nbdev.llm.tokenizers import *\nfrom era_nbdev.core.run import peak_memory\ntrain_bpe('ab', 257); a = peak_memory()\n" \
           f"t = train_bpe(read_text({str(path)!r}), 2000); print(peak_memory()-a, t.vocab_size)"
    mb, n = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert int(n) == 2000 and int(mb) < 150, f'{mb} MB more for a file of 100 MB'
