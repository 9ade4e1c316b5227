"What went wrong in evaluations before: mixed logs, errors taken for long prompts, shifted boundaries, sums over no token, nan, and chat templates."
import contextlib, io, json, math, threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import pytest, torch
from era_nbdev.core import data
from era_nbdev.core.cli import parse
from era_nbdev.core.errors import RunError
from era_nbdev.llm.benchmarks import TASKS, Item, Scored, Task, find_task
from era_nbdev.llm.checkpoints import WithStart, open_model, save_hf
from era_nbdev.llm.corpus import Letters
from era_nbdev.llm.evaluate import Local, Log, Server, ask, cells, evaluate, evaluate_, six_ways
from era_nbdev.llm.gpt import GPT, modern
from era_nbdev.llm.tokenizers import train_bpe

LETTERS = Letters(''.join(map(chr, range(32, 127)))+'\n')
ITEMS = [Item(f'q{i}', f'Question {i}:', (' yes', ' no'), i % 2) for i in range(6)]

def tiny(seed=0, vocab_size=LETTERS.vocab_size, **more):
    torch.manual_seed(seed)
    sizes = dict(n_layer=1, n_head=2, n_embd=16, block_size=128) | more
    return GPT(modern(vocab_size=vocab_size, **sizes)).eval()

def choices(items=ITEMS, **more): return Task('t', 'sum', lambda: (items, items), **more)

def right_if_x(item, text): return dict(right='x' in text)

def writing(**more):
    items = [Item(item.name, item.prompt, answer='x', shown=' x') for item in ITEMS]
    fields = dict(grade=right_if_x, max_tokens=4) | more
    return Task('w', 'right', lambda: (items, items), **fields)

def quiet(*_): pass

# ---- resume

def test_two_models_with_one_embedding_do_not_share_a_log(tmp_path):
    model, tuned = tiny(), tiny()
    evaluate(Local(model, LETTERS), choices(), log=tmp_path, step=quiet)
    with torch.no_grad(): tuned.blocks[0].mlp.parameters().__next__().add_(1e-3)
    assert torch.equal(model.wte.weight, tuned.wte.weight)
    with pytest.raises(RunError, match='was made with model'):
        evaluate(Local(tuned, LETTERS), choices(), log=tmp_path, step=quiet)

@pytest.mark.parametrize('change', [dict(max_tokens=9), dict(stops=('x',))])
def test_settings_that_change_an_answer_are_not_mixed(tmp_path, change):
    local = Local(tiny(), LETTERS)
    evaluate(local, writing(), log=tmp_path, step=quiet)
    with pytest.raises(RunError, match='was made with '+next(iter(change))):
        evaluate(local, writing(**change), log=tmp_path, step=quiet)

def test_a_start_token_and_other_questions_are_another_evaluation(tmp_path):
    model = tiny()
    evaluate(Local(model, LETTERS), choices(), log=tmp_path, step=quiet)
    with pytest.raises(RunError, match='model'):
        evaluate(Local(model, WithStart(LETTERS, 0)), choices(), log=tmp_path, step=quiet)
    changed = [*ITEMS[:-1], Item('q5', 'Another:', (' yes', ' no'), 1)]
    with pytest.raises(RunError, match='was made with questions'):
        evaluate(Local(model, LETTERS), choices(changed), log=tmp_path, step=quiet)

def test_rows_without_their_settings_are_refused(tmp_path):
    evaluate(Local(tiny(), LETTERS), choices(), log=tmp_path, step=quiet)
    (tmp_path/'t-0shot.json').unlink()
    with pytest.raises(RunError, match='t-0shot.json is missing'):
        evaluate(Local(tiny(1), LETTERS), choices(), log=tmp_path, step=quiet)

def test_half_a_line_is_cut_off_and_asked_again(tmp_path):
    log = Log(tmp_path/'a.jsonl', dict(x=1))
    log.add(dict(item='é', right=dict(sum=True)))
    before = (tmp_path/'a.jsonl').read_bytes()
    (tmp_path/'a.jsonl').write_bytes(before+b'{"item": "\xc3')
    assert list(Log(tmp_path/'a.jsonl', dict(x=1)).rows) == ['é']
    assert (tmp_path/'a.jsonl').read_bytes() == before

def test_two_items_of_one_name_are_refused():
    with pytest.raises(RunError, match='two items of one name'):
        evaluate(Local(tiny(), LETTERS), choices([*ITEMS, ITEMS[0]]), step=quiet)

# ---- scores

class Joining: # 'ab' is one token
    vocab_size = 3
    def encode(self, text): return ['abc'.index(o) for o in text.replace('ab', 'c')]

def test_a_choice_without_a_token_of_its_own_is_no_perfect_choice():
    local = Local(tiny(vocab_size=3), Joining())
    for pair in (('a', 'b'), ('b', '')):
        with pytest.raises(ValueError, match='has no token of its own'): local.score([pair])

def test_line_ends_belong_to_the_choice_as_in_lm_eval():
    local = Local(tiny(), LETTERS)
    assert [local.pair('x:\n', 'y')[1], local.pair('x: ', 'y')[1], local.pair('x:', ' y')[1]] == [2]*3

def test_nan_is_an_error():
    broken = tiny()
    with torch.no_grad(): broken.blocks[0].mlp.parameters().__next__()[0, 0] = math.nan
    with pytest.raises(ValueError, match='holds nan'): Local(broken, LETTERS)
    class Overflows:
        name, bs = 'nan', 4
        def score(self, pairs): return [Scored(math.nan, 1) for _ in pairs]
    with pytest.raises(ValueError, match='q0: a score is nan'):
        ask(Overflows(), choices(), ITEMS, [item.prompt for item in ITEMS])

def test_no_question_fits_in_all_ways():
    with pytest.raises(RunError, match='no question of 6 fits'):
        six_ways(Local(tiny(block_size=20), LETTERS), ITEMS, ITEMS)

def test_answers_cut_by_the_limit_are_counted():
    local = Local(tiny(), LETTERS)
    text = local.write(['Question 1:'], (), 6)[0].text
    assert len(text) == 6
    ends = local.write(['Question 1:'], (text[:2],), 6)[0]
    assert ends == ('', False)
    result = evaluate(local, writing(), step=quiet)
    assert result.cut == 6 and cells(result)[6] == 6
    known = Local(local.model, LETTERS, ends=tuple(range(LETTERS.vocab_size)))
    assert evaluate(known, writing(), step=quiet).cut == 0

# ---- servers

class Handler(BaseHTTPRequestHandler):
    """One model of single characters behind an address. As vLLM does, it lists a start token, and
    the end token that it generates, although neither stands in the text."""
    status, said, requests, echo, longest = 200, '', 0, True, 10_000
    def log_message(self, *args): pass
    def answer(self, body, status=200):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
    def do_GET(self): self.answer(dict(data=[dict(id='toy')]))
    def do_POST(self):
        type(self).requests += 1
        asked = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if self.status != 200: return self.answer(dict(error=self.said), self.status)
        chat = 'messages' in asked
        prompt = asked['messages'][0]['content'] if chat else asked['prompt']
        if len(prompt) > self.longest:
            return self.answer(dict(error="This model's maximum context length is 9"), 400)
        choice = dict(text='a x', finish_reason='length')
        if chat: choice['message'] = dict(content=choice.pop('text'))
        if asked.get('echo'):
            told = dict(tokens=['<s>', *prompt, '</s>'], text_offset=[],
                        token_logprobs=[None, *(-float(ord(c)) for c in prompt), -1e9])
            choice = dict(text=prompt, logprobs=told if self.echo else None)
        self.answer(dict(choices=[choice]))

@pytest.fixture
def served():
    handler = type('Fresh', (Handler,), {})
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()

def test_a_start_token_and_an_end_token_shift_no_boundary(served):
    for prompt in ('Q:', 'Q: ', 'Q:\n'):
        found, = Server(served[1]).score([(prompt, ' no')])
        assert found == (-sum(map(ord, prompt[2:]+' no')), 3+len(prompt[2:]))

@pytest.mark.parametrize('status', [401, 404, 429, 500, 503])
def test_errors_of_a_server_are_no_long_prompts(served, tmp_path, status):
    handler, address = served
    server = Server(address)
    handler.status, handler.said = status, 'maximum requests, context length, too long'
    with pytest.raises(RunError, match=f'answers {status}'):
        evaluate(server, writing(), log=tmp_path, step=quiet)
    handler.status = 200
    assert len(evaluate(server, writing(), log=tmp_path, step=quiet).asked) == 6

def test_a_refusal_for_another_reason_is_an_error(served):
    handler, address = served
    server = Server(address)
    handler.status, handler.said = 400, 'maximum value of temperature'
    with pytest.raises(RunError, match='answers 400'): server.write(['x'], (), 4)

@pytest.mark.parametrize('said', [
    "This model's maximum context length is 4097 tokens", 'the request exceeds the available context size',
    'The decoder prompt (length 9) is longer than the maximum model length of 8', 'The prompt is too long'])
def test_too_long_is_counted_and_asked_again(served, tmp_path, said):
    handler, address = served
    server = Server(address)
    handler.status, handler.said = 400, said
    for _ in range(2):
        assert evaluate(server, writing(), log=tmp_path, step=quiet).too_long == 6
    assert len((tmp_path/'w-0shot.jsonl').read_text().splitlines()) == 6
    handler.status = 200
    assert evaluate(server, writing(), log=tmp_path, step=quiet).too_long == 0
    assert evaluate(server, writing(), log=tmp_path, step=quiet).too_long == 0

def test_only_the_long_prompt_of_a_batch_is_too_long(served):
    handler, address = served
    handler.longest = 12
    found = Server(address).score([('Q:', ' no'), ('Q: a longer one', ' no'), ('Q:', ' a longer choice')])
    assert [one is None for one in found] == [False, True, True]

def test_a_server_without_log_probabilities_is_found_out_first(served):
    handler, address = served
    handler.echo = False
    server, task = Server(address), choices()
    with pytest.raises(RunError, match='gives no log-probabilities'): evaluate(server, task, step=quiet)
    assert handler.requests == 1

def test_an_answer_that_the_server_cut_is_counted(served):
    server = Server(served[1])
    assert server.write(['Q'], (), 3) == [('a x', True)]
    assert server.write(['Q'], ('x',), 3) == [('a ', False)]

def test_chat_writes_and_does_not_choose(served):
    handler, address = served
    server = Server(address, chat=True)
    assert evaluate(server, writing(), step=quiet).rate() == 1.
    before = handler.requests
    with pytest.raises(RunError, match='of its own words only'): evaluate(server, choices(), step=quiet)
    with pytest.raises(RunError, match='goes on with a program'): server.check(find_task('humaneval'))
    assert handler.requests == before and server.name != Server(address).name

# ---- command

@pytest.fixture
def tasks(monkeypatch):
    for name, task in (('t', choices()), ('w', writing()), ('few', choices(ITEMS[:1]))):
        monkeypatch.setitem(TASKS, name, task)

def told(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out): parse(evaluate_, [*map(str, words)], 'era evaluate')
    return out.getvalue()

def test_nothing_is_asked_before_everything_fits(served, tmp_path, tasks):
    handler, address = served
    with pytest.raises(RunError, match='has 0 examples, and shots is 1'):
        told(address, '--tasks', 'w,few', '--shots', 1, '--log', tmp_path)
    asked = handler.requests
    assert asked == 2 and not list(tmp_path.rglob('*.jsonl')) # for one short pair, with and without choice
    with pytest.raises(RunError, match='of its own words only'):
        told(address, '--tasks', 'w,t', '--chat', '--log', tmp_path)
    assert handler.requests == asked

def test_what_is_finished_is_shown_in_spite_of_an_error(served, tmp_path, tasks, monkeypatch, capsys):
    def fails(item, text): raise RunError('no power')
    monkeypatch.setitem(TASKS, 'fails', replace(writing(grade=fails), name='fails'))
    words = [served[1], '--tasks', 'w,w,fails', '--log', str(tmp_path)]
    with pytest.raises(RunError, match='no power'): parse(evaluate_, words, 'era evaluate')
    shown = capsys.readouterr().out
    assert shown.count('right') == 1 and 'log: ' in shown

# ---- chat templates of folders

TEMPLATE = ('{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}'
            '{% if add_generation_prompt %}<|assistant|>\n{% endif %}')
MARKS = '<|user|>', '<|assistant|>', '<|end|>', '<s>'

def folder_of(path, jinja=False, **more):
    bpe = train_bpe('Question Answer yes no '*9, 264, special=MARKS)
    save_hf(tiny(vocab_size=bpe.vocab_size), path)
    bpe.save(path/'tokenizer.json')
    chat = {} if jinja else dict(chat_template=TEMPLATE)
    about = dict(tokenizer_class='PreTrainedTokenizerFast', bos_token='<s>', eos_token='<|end|>')
    (path/'tokenizer_config.json').write_text(json.dumps(about | chat | more))
    if jinja: (path/'chat_template.jinja').write_text(TEMPLATE)
    return bpe

@pytest.mark.parametrize('jinja', [False, True])
def test_a_template_puts_marks_and_one_start_token(tmp_path, jinja):
    from era_nbdev.llm.evaluate import LocalChat
    bpe = folder_of(tmp_path, jinja, add_bos_token=True)
    chat = LocalChat(str(tmp_path))
    turn = '<s><|user|>\nQ:<|end|>\n<|assistant|>\n'
    assert chat.turn('Q:') == turn
    assert chat.encode(chat.turn('Q:')) == bpe.encode(turn, allowed_special='all')
    ids, start = chat.pair('Q:', ' yes')
    assert ids == bpe.encode(turn+'yes', allowed_special='all')
    assert bpe.decode(ids[start:]) == '\nyes' and ids.count(bpe.special['<s>']) == 1
    plain = Local(*open_model(tmp_path))
    assert chat.score([('Q:', ' yes')]) != plain.score([('Q:', ' yes')]) and chat.name != plain.name

def test_a_folder_without_a_template_is_refused(tmp_path, tasks):
    folder_of(tmp_path/'m', chat_template=None)
    for source, why in ((tmp_path/'m', 'has no chat template'), (tmp_path/'nothing', 'is no folder that is there')):
        with pytest.raises(RunError, match=why): told(source, '--tasks', 't', '--chat')

def test_chat_has_a_log_of_its_own(tmp_path, tasks):
    folder_of(tmp_path/'m')
    for more in ([], ['--chat']):
        assert 't' in told(tmp_path/'m', '--tasks', 't,w', '--limit', 2, '--log', tmp_path/'log', *more)
    chat, = (tmp_path/'log').glob('*-chat')
    assert len(list((tmp_path/'log').iterdir())) == 2 and len(list(chat.glob('*.jsonl'))) == 2

# ---- lm-eval

# lm-eval 0.4.13, HFLM(folder, dtype='float32', add_bos_token=True).loglikelihood: this folder has no post-processor
# that adds the start token, and its LlamaTokenizer wants one.
LM_EVAL = [('Once upon a time, there was a', ' little girl', -0.9453965425491333), ('Lily had a dog.\n', ' He was big', -23.763572692871094),
           ('Answer:', ' A', -0.42510849237442017)]

@pytest.mark.real
def test_scores_are_those_of_lm_eval():
    if data.find(data.dataset('stories260k')) is None: pytest.skip('stories260k is not on this machine')
    local = Local(*open_model(data.load('stories260k')))
    found = local.score([pair[:2] for pair in LM_EVAL])
    for score, (_, _, want) in zip(found, LM_EVAL): assert abs(score.total-want) < 1e-3
