"Counts which byte follows which: a bigram model."
import numpy as np

def train(text, seconds, seed):
    "text: [n] uint8. Returns a model."
    counts = np.full((256, 256), 0.01)
    np.add.at(counts, (text[:-1], text[1:]), 1)
    return np.log(counts/counts.sum(1, keepdims=True)).astype(np.float32)

def logits(model, windows):
    "windows: [N, 256] uint8. Returns [N, 256, 256], the logits of each next byte."
    return model[windows]
