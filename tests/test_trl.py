"The sections on parity of four chapters with trl, whose import takes some twenty seconds: here once for all of them. `nbdev-test` leaves their cells out (`#| notest`)."
import importlib, json, re
from pathlib import Path
import pytest
import torch
from era_nbdev.llm.gpt import GPT, modern
from era_nbdev.llm.instruct import byte_tokenizer

NBS = Path(__file__).parent.parent/'nbs'

def tiny() -> dict: # instead of the model that the page has trained
    torch.manual_seed(0)
    tok = byte_tokenizer()
    model = GPT(modern(vocab_size=tok.vocab_size, block_size=64, n_layer=2, n_head=2, n_embd=32, qk_norm=False))
    for parameter in model.parameters(): torch.nn.init.normal_(parameter, 0, .5)
    return dict(tok=tok, model=model)

def parity(page: str) -> tuple[list[str], list[str]]:
    "The page's imports, and the code of its section on parity with trl."
    cells = json.loads((NBS/f'{page}.ipynb').read_text(encoding='utf-8'))['cells']
    texts = [(cell['cell_type'], ''.join(cell['source'])) for cell in cells]
    code = [text for kind, text in texts if kind == 'code']
    imports = [text for text in code if 'from __future__' in text or 'plot.setup()' in text]
    heads = [(i, head) for i, (kind, text) in enumerate(texts) if kind == 'markdown' for head in re.findall('^## .*', text, re.M)]
    first = next(i for i, head in heads if head.startswith('## Parity') and 'trl' in head)
    last = next(i for i, _ in heads if i > first)
    section = [text for kind, text in texts[first:last] if kind == 'code']
    return imports, section

@pytest.mark.parametrize('page, given', [('llm/27_instruct', tiny), ('rl/16_rewards', dict), ('rl/21_preferences', dict), ('rl/22_grpo', dict)])
def test_parity_with_trl(page, given):
    pytest.importorskip('trl')
    part, name = page.split('/')
    names = vars(importlib.import_module(f'era_nbdev.{part}.{name[3:]}')) | given() | dict(__name__=name)
    imports, section = parity(page)
    assert len(imports) == 2 and any('trl' in cell and '#| notest' in cell for cell in section)
    for cell in imports+section:
        exec(compile(cell, page, 'exec'), names)
