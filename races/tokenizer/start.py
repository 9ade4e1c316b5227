"Every byte, and the most frequent words with the space before them."
from collections import Counter
import re

def train(text, seconds, seed):
    "text: bytes. Returns a list of at most 4,096 byte strings."
    words = Counter(re.findall(rb' ?[^ ]+', text))
    return [bytes([b]) for b in range(256)]+[w for w, _ in words.most_common(4096-256)]
