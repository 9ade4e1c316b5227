"The API under bad input and bad clients: nothing is left running, nobody is refused who behaves."
import asyncio, json, logging, os, random, signal, subprocess, sys, time
from collections import Counter
import pytest
httpx = pytest.importorskip('httpx')
pytest.importorskip('fastapi')
from era_nbdev.core.run import RunError
from era_nbdev.scale.api import Answers, background, listen
from era_nbdev.scale.overload import Limits, create_app, impatient
from era_nbdev.scale.streaming import Step


class Letters: # a tokenizer
    vocab_size = 256
    def encode(self, text): return list(text.encode())
    def decode(self, ids): return bytes(ids).decode('utf-8', 'replace')

class Typist: # an engine that writes a letter every 2 ms, and counts who is there
    context = 64
    def __init__(self): self.inside = self.most = self.begun = 0

    async def tokens(self, job):
        self.inside += 1
        self.begun += 1
        self.most = max(self.most, self.inside)
        try:
            for i in range(job.max_tokens):
                await asyncio.sleep(.002)
                yield Step(97+i % 26)
        finally: self.inside -= 1

    def load(self): return self.inside, 0
    def close(self): pass

LIMITS = Limits(inside=50, seconds=5., body_bytes=10_000, body_seconds=.5)

@pytest.fixture
def server():
    engine = Typist()
    app = create_app(Answers('letters', Letters(), engine), LIMITS)
    with background(app, http=impatient(.5), log_level='critical') as url: yield url, engine

def body(**fields): return dict(model='letters', prompt='abc', max_tokens=8) | fields

def head(length, path='/v1/completions'):
    return (f'POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
            f'Content-Length: {length}\r\n\r\n').encode()

# ---- bad input

BAD = [
    (b'{', 'not JSON'), (b'', 'body'), (b'\xff\xfe{}', ''), (b'[1]', ''), (b'[' * 5000, ''),
    (json.dumps(body(max_token=3)), "did you mean 'max_tokens'"), (json.dumps(body(max_tokens=0)), 'max_tokens'),
    (json.dumps(body(max_tokens=62)), 'context of this model is 64 tokens, but you asked for 3 in the prompt and 62'),
    (json.dumps(body(prompt='x'*64)), 'asked for 64 in the prompt'), (json.dumps(body(prompt='')), 'empty'),
    (json.dumps(body(prompt=[300])), 'the id 300, expected 0 to 255'), (json.dumps(body(temperature=float('nan'))), 'temperature'),
    (json.dumps(body(stop=['a']*5)), 'at most 4'), (json.dumps(body(seed=2**63)), 'seed'), (json.dumps(body(n=3)), 'n: '),
    (json.dumps(body(logprobs=9)), 'logprobs'), (json.dumps(body(stream='yes')), 'stream')]

def test_bad_bodies_are_refused_in_one_sentence(server):
    url, engine = server
    with httpx.Client() as client:
        for content, words in BAD:
            r = client.post(f'{url}/v1/completions', content=content, headers={'content-type': 'application/json'})
            error = r.json()['error']
            assert r.status_code == 400 and words in error['message'], (content[:60], r.text)
            assert set(error) == {'message', 'type', 'param', 'code'} and len(error['message']) < 300
        assert client.post(f'{url}/v1/completions', content=b'x'*10_001).status_code == 413
        assert client.post(f'{url}/v1/chat/completions', json=dict(model='letters', messages=[dict(role='user', content='a')])).status_code == 400
    assert engine.begun == 0

# ---- the official client goes on with a conversation

class Spoken: # how the model is spoken to; remembers what it was given
    ends = stop = ()
    def __init__(self): self.seen = []

    def encode(self, messages):
        self.seen = messages
        return list(b'ab')

def test_an_answer_is_sent_back_as_the_next_turn():
    openai = pytest.importorskip('openai')
    way = Spoken()
    with background(create_app(Answers('letters', Letters(), Typist(), way), LIMITS)) as url:
        ai = openai.OpenAI(base_url=f'{url}/v1', api_key='none', max_retries=0)
        def ask(messages): return ai.chat.completions.create(model='letters', messages=messages, max_tokens=3)
        talk = [dict(role='user', content='one')]
        talk.append(ask(talk).choices[0].message) # with refusal: null
        talk.append(dict(role='user', content='two'))
        assert ask(talk).choices[0].message.content == 'abc'
        assert way.seen == [dict(role='user', content='one'), dict(role='assistant', content='abc'),
                            dict(role='user', content='two')]
        empty = dict(annotations=None, audio=None, function_call=None, tool_calls=None)
        assert ask([dict(role='assistant', content='a') | empty]).choices[0].message.content == 'abc'
        for field in (*empty, 'refusal'):
            with pytest.raises(openai.BadRequestError, match=f'messages.0.{field}'):
                ask([{'role': 'assistant', 'content': 'a', field: 'x'}])

# ---- what the engine says and what it lacks

class Failing(Typist):
    lacks = 'seed', 'min_p', 'typical', 'alternatives'

    async def tokens(self, job):
        yield Step(97)
        raise RuntimeError('the engine failed: a secret')

def test_the_words_of_a_failed_engine_go_to_the_log_only(caplog):
    with background(create_app(Answers('letters', Letters(), Failing()), LIMITS)) as url:
        whole = httpx.post(f'{url}/v1/completions', json=body())
        stream = httpx.post(f'{url}/v1/completions', json=body(stream=True))
    assert (whole.status_code, stream.status_code) == (500, 200)
    for r in (whole, stream): assert 'secret' not in r.text and 'the engine failed on this request' in r.text
    errors = [r for r in caplog.records if r.name == 'era_nbdev.scale.api' and r.levelno == logging.ERROR]
    assert ['secret' in str(r.exc_info[1]) for r in errors] == [True, True]

def test_settings_that_the_engine_lacks_are_refused_by_name():
    with background(create_app(Answers('letters', Letters(), Failing()), LIMITS)) as url:
        for fields, param in ((dict(seed=1), 'seed'), (dict(min_p=.1), 'min_p'), (dict(logprobs=2), 'logprobs'),
                              (dict(typical=.5), 'typical')):
            r = httpx.post(f'{url}/v1/completions', json=body(**fields))
            assert (r.status_code, r.json()['error']['param']) == (400, param), r.text
        for fields in (dict(seed=1, min_p=.1, temperature=0), dict(logprobs=0)): # nothing is ignored
            assert httpx.post(f'{url}/v1/completions', json=body(**fields)).status_code == 500

# ---- many clients, a fifth of whom misbehave

async def exchange(port, content): # status, headers, body
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(head(len(content)).replace(b'Host: x', b'Host: x\r\nConnection: close')+content)
    about, _, answer = (await reader.read()).partition(b'\r\n\r\n')
    writer.close()
    first, *lines = about.decode().splitlines()
    return int(first.split()[1]), dict(line.lower().split(': ', 1) for line in lines), answer

async def polite(port, n):
    for _ in range(100):
        status, headers, answer = await exchange(port, json.dumps(body(max_tokens=n)).encode())
        if status != 429: break
        assert int(headers['retry-after']) >= 1
        await asyncio.sleep(random.uniform(.1, 1))
    assert status == 200, answer
    assert json.loads(answer)['choices'][0]['text'] == ''.join(chr(97+i % 26) for i in range(n))
    return 'answered'

async def vanishing(port, content): # a whole request, and gone
    _, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(head(len(content))+content)
    await writer.drain()
    writer.close()
    return 'vanished'

async def reads_a_little(port, content): # leaves in the middle of a stream
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(head(len(content))+content)
    await reader.read(50)
    writer.transport.abort()
    return 'left'

async def silent(port, sent): # half a request, or none: the server must end it
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    full = b' 429 ' in answer # room is asked for before the body comes
    return 'ended by the server' if not answer or b' 408 ' in answer or full else f'answered {answer[:60]}'

async def nonsense(port):
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'\x16\x03\x01 hello\r\n\r\n')
    answer = await asyncio.wait_for(reader.read(), 120)
    writer.close()
    return 'nonsense' if b' 400 ' in answer else f'answered {answer[:60]}'

async def everybody(url, n, seed=0):
    rng, port = random.Random(seed), int(url.rsplit(':', 1)[1])
    content = json.dumps(body(max_tokens=60, stream=True)).encode()
    bad = [(vanishing, port, content), (reads_a_little, port, content), (silent, port, b''),
           (silent, port, head(500)+b'{"model": '), (nonsense, port)]
    async def one(i, wait, n_tokens):
        await asyncio.sleep(wait)
        if i % 5: return await polite(port, n_tokens)
        f, *args = bad[i//5 % 5]
        return await f(*args)
    return Counter(await asyncio.gather(*(one(i, rng.uniform(0, 4), rng.randint(1, 5)) for i in range(n))))

def test_a_thousand_clients_of_whom_a_fifth_misbehave(server):
    url, engine = server
    found = asyncio.run(everybody(url, 1000))
    assert found == {'answered': 800, 'vanished': 40, 'left': 40, 'ended by the server': 80, 'nonsense': 40}
    assert engine.most <= LIMITS.inside
    end = time.monotonic()+10
    while engine.inside and time.monotonic() < end: time.sleep(.01)
    assert engine.inside == 0
    assert httpx.post(f'{url}/v1/completions', json=body()).status_code == 200 # every place was given back

# ---- the end

def test_sigterm_drains_and_a_second_server_is_refused_the_port():
    code = ('import sys; sys.path.insert(0, sys.argv[1]); from test_api import *; from era_nbdev.scale.api import listen\n'
            'from era_nbdev.scale.overload import run_server\n'
            'run_server(create_app(Answers("letters", Letters(), Typist()), LIMITS), listen(port=int(sys.argv[2])))')
    def start(port): return subprocess.Popen([sys.executable, '-c', code, os.path.dirname(__file__), str(port)],
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = start(0)
    url = first.stdout.readline().split()[2]
    with pytest.raises(RunError, match='is in use: choose another one with --port'): listen(port=int(url.split(':')[2].split('/')[0]))
    with httpx.stream('POST', f'{url}/completions', json=body(max_tokens=60, stream=True)) as r:
        lines = r.iter_lines()
        next(lines)
        first.send_signal(signal.SIGTERM)
        text = list(lines)
    assert text[-2:] == ['data: [DONE]', ''] and sum('"text"' in line for line in text) >= 59
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0 and 'Traceback' not in err, err
