"Byte-pair encoding of whole lines, so that a token may hold several words."
from era_nbdev.llm.tokenizers import train_bpe

def train(text, seconds, seed):
    "text: bytes. Returns a list of at most 4,096 byte strings."
    return list(train_bpe(text.decode(), 4096, pattern=r'[^\n]*\n').vocab)
