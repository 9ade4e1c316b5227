"A GPT of 0.8 million parameters on bytes, AdamW, the learning rate falls with the time left."
import math, time
import numpy as np
import torch
import torch.nn.functional as F
from era_nbdev.llm.gpt import GPT, modern

BATCH, PEAK = 8, 4e-3

def train(text, seconds, seed):
    "text: [n] uint8. Returns a model."
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    start, seconds = time.process_time(), 0.97*seconds
    model = GPT(modern(vocab_size=256, block_size=256, n_layer=4, n_head=4, n_embd=128))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    rng, data = np.random.default_rng(seed), torch.tensor(text.astype(np.int64))
    done = steps = 0
    while done < 1:
        for group in optimizer.param_groups:
            group['lr'] = PEAK*min(1, (steps+1)/50)*(0.5+0.5*math.cos(math.pi*done)+0.01)
        begins = rng.integers(0, len(data)-257, BATCH)
        batch = torch.stack([data[i:i+257] for i in begins])
        scores = model(batch[:, :-1])
        loss = F.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimizer.step()
        done, steps = (time.process_time()-start)/seconds, steps+1
        if steps % 100 == 0: print(f'{steps} steps, {done:.0%}, loss {loss.item()/math.log(2):.3f} bits', flush=True)
    return model.eval()

@torch.no_grad()
def logits(model, windows):
    "windows: [N, 256] uint8. Returns [N, 256, 256], the logits of each next byte."
    torch.set_num_threads(1)
    return model(torch.tensor(windows.astype(np.int64))).numpy()
