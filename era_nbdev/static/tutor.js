'use strict';
// Asks this server only. Text of the book, of a model and of readers reaches the page as text, never as HTML.
const $ = id => document.getElementById(id);
let waiting = null, current = null, key = '';

function say(text, error = false) { $('status').textContent = text; $('status').classList.toggle('error', error); }
function part(name, text = '', kind = '') { const e = document.createElement(name); e.textContent = text; if (kind) e.className = kind; return e; }
function button(text, kind, act) { const e = part('button', text, kind); e.type = 'button'; e.addEventListener('click', act); return e; }
function count(n, word) { return `${n} ${word}${n === 1 ? '' : 's'}`; }

async function call(path, method = 'GET', body = null, signal = undefined) {
  const headers = key ? {Authorization: `Bearer ${key}`} : {};
  if (body) headers['Content-Type'] = 'application/json';
  const r = await fetch(path, {method, headers, signal, body: body && JSON.stringify(body)});
  if (r.ok) return r;
  const told = (await r.json()).error?.message ?? `status ${r.status}`;
  if (r.status === 401) $('keyrow').hidden = false;
  throw new Error(r.status === 429 ? `Too many questions: try again in ${r.headers.get('Retry-After')} s.` : told);
}

// The events of a stream: objects behind "data: ", an empty line after each.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = '';;) {
    const {done, value} = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const p of parts) if (p !== 'data: [DONE]') yield JSON.parse(p.slice(6));
  }
}

// A question and its answer.
function turn(question) {
  const li = document.createElement('li'), text = part('p', '', 'text');
  li.append(part('h3', question), text);
  $('talk').append(li); $('empty').hidden = true;
  return {li, text};
}

function cite(id, number) {
  const a = part('a', `[${number}]`, 'cite');
  a.href = `#${id}-${number}`; a.setAttribute('aria-label', `source ${number}`);
  return a;
}

function source(id, o) {
  const li = document.createElement('li'), web = /^https?:\/\//.test(o.url);
  const title = part(web ? 'a' : 'span', o.title);
  if (web) { title.href = o.url; title.rel = 'noopener noreferrer'; title.target = '_blank'; }
  li.id = `${id}-${o.number}`; li.value = o.number; li.tabIndex = -1;
  li.append(title);
  if (o.quote) li.append(part('blockquote', o.quote));
  return li;
}

function finish(view, answer, id, value) {
  const name = `turn-${id}`;
  view.text.classList.remove('writing');
  view.text.replaceChildren();
  if (!answer.statements.length) view.text.textContent = answer.text;
  for (const s of answer.statements) {
    view.text.append(`${s.text} `, ...s.sources.map(n => cite(name, n)), ' ');
    if (s.doubtful) view.text.append(part('em', '(its source does not clearly say this)'), ' ');
  }
  const cited = new Set(answer.statements.flatMap(s => s.sources));
  for (const [title, own] of [['Sources', true], ['Also found', false]]) {
    const list = part('ol', '', 'sources');
    list.append(...answer.sources.filter(o => cited.has(o.number) === own).map(o => source(name, o)));
    if (list.children.length) view.li.append(own ? part('h4', title) : part('h4', title, 'more'), list);
  }
  view.li.append(part('p', `Answered by: ${answer.engine}`, 'engine'), opinion(id, value));
}

function opinion(id, value) {
  const div = part('div', '', 'opinion');
  div.setAttribute('role', 'group'); div.setAttribute('aria-label', 'Your opinion of this answer');
  for (const [text, mine] of [['Helpful', 1], ['Not helpful', -1]]) {
    const b = button(text, '', () => rate(div, id, b.getAttribute('aria-pressed') === 'true' ? 0 : mine));
    b.dataset.value = mine; b.setAttribute('aria-pressed', String(value === mine));
    div.append(b);
  }
  return div;
}

async function rate(div, id, value) {
  try {
    await call('api/feedback', 'POST', {turn: id, value});
    for (const b of div.children) b.setAttribute('aria-pressed', String(Number(b.dataset.value) === value));
    say(value ? 'Thank you: your opinion is stored.' : 'Your opinion is withdrawn.');
  } catch (e) { say(e.message, true); }
}

function busy(on) {
  $('talk').setAttribute('aria-busy', String(on));
  $('stop').disabled = !on; $('send').disabled = on;
}

async function ask(question) {
  const mine = waiting = new AbortController(), view = turn(question);
  view.text.classList.add('writing');
  busy(true); say('Searching the book …');
  let found = null;
  try {
    const r = await call('api/ask', 'POST', {question, conversation: current}, mine.signal);
    for await (const e of events(r)) {
      if (e.error) throw new Error(e.error.message);
      if (e.text) view.text.append(e.text);
      if (e.answer) {
        current = e.conversation;
        finish(view, e.answer, e.turn, 0);
        found = e.answer.sources.length;
      }
    }
    if (found === null) throw new Error('The answer broke off.');
    $('question').value = '';
    history.replaceState(null, '', `?conversation=${current}`);
    await earlier();
    say(found ? `The answer is complete, with ${count(found, 'section')} of the book.` : 'The book has no answer to this.');
  } catch (e) {
    if (found === null) view.li.remove();
    $('empty').hidden = $('talk').children.length > 0;
    say(e.name === 'AbortError' ? 'Stopped.' : e instanceof TypeError ? 'The server does not answer.' : e.message, e.name !== 'AbortError');
  } finally { if (waiting === mine) { waiting = null; busy(false); } $('question').focus(); }
}

// Earlier conversations.
async function earlier() {
  const all = (await (await call('api/conversations')).json()).conversations;
  $('earlier').replaceChildren(...all.map(o => {
    const li = document.createElement('li'), title = `${o.title} (${count(o.turns, 'question')})`;
    const open = button(title, 'open', () => show(o.id)), gone = button('Delete', '', () => remove(o));
    open.setAttribute('aria-current', String(o.id === current));
    gone.setAttribute('aria-label', `Delete the conversation “${o.title}”`);
    li.append(open, gone);
    return li;
  }));
}

async function show(id) {
  waiting?.abort();
  try {
    const turns = (await (await call(`api/conversations/${id}`)).json()).turns;
    fresh(); current = id;
    for (const o of turns) finish(turn(o.question), o.answer, o.turn, o.value);
    history.replaceState(null, '', `?conversation=${id}`);
    await earlier();
    say(`A conversation with ${count(turns.length, 'question')}.`);
  } catch (e) { history.replaceState(null, '', '.'); say(e.message, true); }
}

async function remove(o) {
  try {
    await call(`api/conversations/${o.id}`, 'DELETE');
    if (o.id === current) fresh();
    await earlier();
    say(`The conversation “${o.title}” is deleted.`);
    $('question').focus();
  } catch (e) { say(e.message, true); }
}

function fresh() { current = null; $('talk').replaceChildren(); $('empty').hidden = false; history.replaceState(null, '', '.'); }

$('form').addEventListener('submit', e => {
  e.preventDefault();
  const text = $('question').value.trim();
  if (waiting) return;
  if (text) ask(text); else say('Type a question first.', true);
});
$('question').addEventListener('keydown', e => { if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); $('form').requestSubmit(); } });
addEventListener('keydown', e => { if (e.key === 'Escape') waiting?.abort(); });
$('stop').addEventListener('click', () => waiting?.abort());
$('new').addEventListener('click', () => { waiting?.abort(); fresh(); earlier(); say('A new conversation.'); $('question').focus(); });
$('key').addEventListener('change', () => { key = $('key').value; earlier().then(() => say(''), e => say(e.message, true)); });
addEventListener('hashchange', () => document.getElementById(location.hash.slice(1))?.focus());

async function start() {
  try {
    const about = await (await fetch('health')).json();
    $('about').textContent = about.about;
    const id = new URLSearchParams(location.search).get('conversation');
    if (id) await show(id); else { await earlier(); say(''); }
    $('question').focus();
  } catch (e) { say(e instanceof TypeError ? 'The server does not answer.' : e.message, true); }
  document.body.dataset.ready = 'yes';
}
start();
