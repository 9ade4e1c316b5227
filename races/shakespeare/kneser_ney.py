"Contexts of up to 6 bytes by Kneser-Ney smoothing: shorter ones count kinds."
import numpy as np

ORDERS, DISCOUNT = range(1, 7), 0.9

def codes(text, k):
    "The last k bytes at each place as one number; [..., n] uint8 -> [..., n] uint64."
    wide = text.astype(np.uint64)
    code = np.zeros_like(wide)
    for back in range(k):
        code[..., back:] |= wide[..., :wide.shape[-1]-back] << np.uint64(8*back)
    return code

def table(pairs):
    "The contexts, where their rows begin, and the rows: following byte, count."
    pairs, counts = np.unique(pairs, return_counts=True)
    contexts, first = np.unique(pairs >> np.uint64(8), return_index=True)
    return contexts, np.append(first, len(pairs)), (pairs & np.uint64(255)).astype(int), counts

def train(text, seconds, seed):
    "text: [n] uint8. Returns a model."
    longest = max(ORDERS)
    pairs = codes(text, longest)[longest-1:-1] << np.uint64(8) | text[longest:]
    tables = {longest: table(pairs)}
    for k in reversed(ORDERS[:-1]): # how many different bytes stood before each shorter pair
        different = np.unique(pairs)
        pairs = different & np.uint64((1 << 8*(k+1))-1)
        tables[k] = table(pairs)
    last = np.bincount((np.unique(pairs) & np.uint64(255)).astype(int), minlength=256)+0.1
    return last/last.sum(), [tables[k] for k in ORDERS]

def interpolate(p, rows, contexts, found):
    "Mix the counts of the found contexts into the probabilities of the shorter ones."
    _, first, following, counts = contexts
    begin, n = first[found], first[found+1]-first[found]
    places = np.repeat(begin-np.cumsum(n)+n, n)+np.arange(n.sum())
    total = np.add.reduceat(counts, first[:-1])[found]
    p[rows] *= (DISCOUNT*n/total)[:, None]
    p[np.repeat(rows, n), following[places]] += (counts[places]-DISCOUNT)/np.repeat(total, n)

def logits(model, windows):
    "windows: [N, 256] uint8. Returns [N, 256, 256], the logits of each next byte."
    base, tables = model
    p = np.tile(base, (windows.size, 1))
    place = np.tile(np.arange(256), len(windows))
    for k, contexts in zip(ORDERS, tables):
        code = codes(windows, k).ravel()
        found = np.minimum(np.searchsorted(contexts[0], code), len(contexts[0])-1)
        rows = np.flatnonzero((contexts[0][found] == code) & (place >= k-1))
        interpolate(p, rows, contexts, found[rows])
    return np.log(p).reshape(*windows.shape, 256).astype(np.float32)
