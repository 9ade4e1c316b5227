"""What a user types: a short script with the commonest calls of the library. `test_types.py` lets a type checker read it, and runs it.

    python tests/typed_user.py FOLDER
"""
import sys
from pathlib import Path
import torch
from torch import nn
from era_nbdev.core.data import load
from era_nbdev.core.experiments import settings
from era_nbdev.core.run import Run, launch, open_run
from era_nbdev.foundations.learner import Learner
from era_nbdev.foundations.tensors import Batches
from era_nbdev.llm.generate import Sampling, generate
from era_nbdev.llm.gpt import GPT, GPTConfig
from era_nbdev.llm.tokenizers import BPE, train_bpe

def classify() -> float:
    "The validation loss of a small network on the digits."
    digits = load('digits')
    train = Batches(digits.x_train.float()/16, digits.y_train, 64)
    valid = Batches(digits.x_test.float()/16, digits.y_test, 64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    learn = Learner(model, train, valid, loss_of)
    learn.fit(1, lr=.01)
    return learn.evaluate()['valid_loss']

def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, labels)

def tokenize(text: str) -> BPE:
    tokenizer = train_bpe(text, 270)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    return tokenizer

def write(tokenizer: BPE, folder: Path) -> str:
    "A text of a model that was saved and loaded."
    config = GPTConfig(vocab_size=tokenizer.vocab_size, block_size=16, n_layer=1, n_head=2, n_embd=16)
    path = GPT(config).save(folder/'model.safetensors')
    model = GPT.load(path)
    prompt = tokenizer.encode('the ')
    added = generate(model, [prompt], 5, Sampling(.8))
    return tokenizer.decode(added[0])

def train(folder: Path) -> Run:
    "A finished run of an experiment, opened again."
    done = launch(settings('mnist', epochs=1), out=str(folder))
    return open_run(done.dir)

def main(folder: Path) -> None:
    loss = classify()
    text = write(tokenize('the cat sat on the mat; a dog ran to a big red barn. '*20), folder)
    run = train(folder)
    probabilities = run.predict(load('digits').x_test[:3])
    print(f'{loss:.2f} {len(text)} {run.dir.name} {len(probabilities)}')

if __name__ == '__main__': main(Path(sys.argv[1]))
