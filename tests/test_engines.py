"vLLM, where it is installed: the same greedy tokens as our own engine. It wants other versions of PyTorch and NumPy than the book, so it has an environment of its own."
import asyncio
from contextlib import aclosing
import pytest
from era_nbdev.scale.streaming import Job, demo_folder
from era_nbdev.scale.engines import default_env, open_answers

@pytest.mark.skipif(not (default_env()/'bin'/'vllm').exists(), reason="vLLM is not installed: 'era deploy env vllm' installs it (--cpu without a GPU), ERA_VLLM names its folder")
def test_vllm_gives_the_greedy_tokens_of_our_engine(tmp_path):
    folder = demo_folder(tmp_path/'demo')
    async def greedy(answers):
        async def tokens(text):
            async with aclosing(answers.engine.tokens(Job(answers.tokenizer.encode(text), 30))) as steps: return [step.token async for step in steps]
        return [await tokens(text) for text in ('one day a dog', 'the', 'one day a bear went to the lake .')]
    found = {}
    for name in ('own', 'vllm'):
        answers = open_answers(str(folder), name)
        try: found[name] = asyncio.run(greedy(answers))
        finally: answers.engine.close()
    assert found['vllm'] == found['own']
