"BPE of whole lines with 5,000 tokens, cut to those that a shortest spelling uses most."
from collections import Counter
from era_nbdev.llm.tokenizers import train_bpe

FIRST, ROUNDS = 5000, 2

def spelled(text, tokens):
    "How often each token occurs in a spelling of `text` with the fewest tokens."
    beginnings = {t[:n] for t in tokens for n in range(1, len(t)+1)}
    fewest, last = [0]+[len(text)+1]*len(text), [0]*(len(text)+1)
    for i in range(len(text)):
        count = fewest[i]+1
        for j in range(i+1, len(text)+1):
            part = text[i:j]
            if part not in beginnings: break
            if part in tokens and count < fewest[j]:
                fewest[j], last[j] = count, i
    used, j = Counter(), len(text)
    while j:
        used[text[last[j]:j]] += 1
        j = last[j]
    return used

def train(text, seconds, seed):
    "text: bytes. Returns a list of at most 4,096 byte strings."
    single = {bytes([b]) for b in range(256)}
    tokens = set(train_bpe(text.decode(), FIRST, pattern=r'[^\n]*\n').vocab)
    for i in range(ROUNDS):
        used = spelled(text, tokens)
        size = FIRST-(FIRST-4096)*(i+1)//ROUNDS
        longer = [t for t, _ in used.most_common() if t not in single]
        tokens = single | set(longer[:size-256])
    return list(tokens)
