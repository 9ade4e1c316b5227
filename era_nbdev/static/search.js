'use strict';
// Asks this server only: a sentence, a photograph, or "more like this one"; shows photographs and captions.
const $ = id => document.getElementById(id);
const SIDE = 640, COUNT = 12; // pixels of a photograph that is sent; photographs asked for
let waiting = null, first = '';

function say(text, error = false) { $('status').textContent = text; $('status').classList.toggle('error', error); }
function busy(on) { $('answer').setAttribute('aria-busy', String(on)); }
function clear() { for (const id of ['answer', 'words']) $(id).hidden = true; $('photos').replaceChildren(); $('captions').replaceChildren(); }
function fail(message) { clear(); say(message, true); }

// One question at a time: a newer one replaces what is under way.
async function ask(path, options, what) {
  waiting?.abort();
  const mine = waiting = new AbortController();
  busy(true); say(`Searching for ${what} …`);
  try {
    const r = await fetch(path, {...options, signal: mine.signal});
    const answer = await r.json();
    if (waiting === mine) r.ok ? tell(answer, what) : fail(answer.error);
  } catch { if (waiting === mine) fail('The server does not answer.'); }
  finally { if (waiting === mine) { waiting = null; busy(false); } }
}

function tell(answer, what) {
  const n = answer.photos.length, gone = answer.gone;
  $('photos').replaceChildren(...answer.photos.map(photo));
  $('captions').replaceChildren(...answer.captions.map(words));
  $('answer').hidden = !n; $('words').hidden = !answer.captions.length;
  say(`${n} ${n === 1 ? 'photograph' : 'photographs'} for ${what} (${answer.milliseconds.toFixed(1)} ms).`
      + (gone ? ` ${gone} left out: deleted or changed since the folder was indexed.` : ''));
}

function part(name, kind, text) { const e = document.createElement(name); e.className = kind; e.textContent = text; return e; }

function photo(o, i) {
  const li = document.createElement('li'), button = part('button', '', ''), img = document.createElement('img');
  img.src = `photo/${o.id}`; img.alt = o.caption || `Photograph ${o.name}`; img.loading = 'lazy';
  img.addEventListener('load', () => img.classList.toggle('small', img.naturalWidth < 100));
  button.type = 'button'; button.tabIndex = i ? -1 : 0; button.dataset.id = o.id; button.title = `More like ${o.name}`;
  button.append(img, part('span', 'caption', o.caption || o.name), part('span', 'score', o.score.toFixed(3)));
  button.addEventListener('click', () => more(o));
  li.append(button);
  return li;
}

function words(o) { const li = part('li', '', `${o.text} `); li.append(part('span', 'score', o.score.toFixed(3))); return li; }

// Three ways to ask.
function sentence(text) {
  preview(null); text = text.trim();
  if (!text) { waiting?.abort(); return fail('Type a sentence first, or choose a photograph.'); }
  history.replaceState(null, '', `?q=${encodeURIComponent(text)}`);
  ask(`api/search?k=${COUNT}&text=${encodeURIComponent(text)}`, {}, `“${text}”`);
}

async function more(o) {
  preview(`photo/${o.id}`);
  await ask(`api/search?k=${COUNT}&photo=${o.id}`, {}, `more like ${o.name}`);
  $('photos').querySelector('button')?.focus();
}

async function file(given) {
  if (!given) return;
  const sent = await smaller(given);
  preview(sent === given ? null : URL_of(sent));
  ask(`api/search?k=${COUNT}`, {method: 'POST', headers: {'Content-Type': sent.type || 'application/octet-stream'}, body: sent}, given.name || 'your photograph');
}

function preview(source) { $('preview').hidden = !source; if (source) Promise.resolve(source).then(s => { $('preview').src = s; }); else $('preview').removeAttribute('src'); }
function URL_of(blob) { return new Promise(done => { const r = new FileReader(); r.onload = () => done(r.result); r.readAsDataURL(blob); }); }

// A telephone's photograph has megabytes; what the model sees has a few hundred pixels on a side.
async function smaller(blob) {
  try {
    const bitmap = await createImageBitmap(blob), k = Math.min(1, SIDE/Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement('canvas'), c = canvas.getContext('2d');
    canvas.width = Math.max(1, Math.round(bitmap.width*k)); canvas.height = Math.max(1, Math.round(bitmap.height*k));
    c.fillStyle = '#fff'; c.fillRect(0, 0, canvas.width, canvas.height);
    c.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return await new Promise((done, no) => canvas.toBlob(b => b ? done(b) : no(new Error('empty')), 'image/jpeg', .92));
  } catch { return blob; } // the server says what is wrong with it
}

// Arrow keys move in the grid: one button can be reached with Tab, the others from it.
function columns(all) { return all.filter(b => b.offsetTop === all[0].offsetTop).length; }
function focus(all, i) {
  const j = Math.min(all.length-1, Math.max(0, i));
  all.forEach((b, n) => { b.tabIndex = n === j ? 0 : -1; });
  all[j].focus();
}
$('photos').addEventListener('keydown', e => {
  const all = [...$('photos').querySelectorAll('button')], i = all.indexOf(document.activeElement), n = columns(all);
  const to = {ArrowRight: i+1, ArrowLeft: i-1, ArrowDown: i+n, ArrowUp: i-n, Home: 0, End: all.length-1}[e.key];
  if (e.key === 'Escape' || (e.key === 'ArrowUp' && i < n)) { e.preventDefault(); $('query').focus(); }
  else if (to !== undefined) { e.preventDefault(); focus(all, to); }
});
$('photos').addEventListener('focusin', e => { for (const b of $('photos').querySelectorAll('button')) b.tabIndex = b === e.target ? 0 : -1; });
$('query').addEventListener('keydown', e => {
  const all = [...$('photos').querySelectorAll('button')];
  if (e.key === 'ArrowDown' && all.length) { e.preventDefault(); focus(all, 0); }
});

$('form').addEventListener('submit', e => { e.preventDefault(); sentence($('query').value); });
$('file').addEventListener('change', e => { const given = e.target.files[0]; e.target.value = ''; file(given); });
for (const kind of ['dragenter', 'dragover']) addEventListener(kind, e => { e.preventDefault(); document.body.classList.add('over'); });
for (const kind of ['dragleave', 'drop']) addEventListener(kind, e => { e.preventDefault(); document.body.classList.remove('over'); });
addEventListener('drop', e => {
  const given = e.dataTransfer.files[0];
  given ? file(given) : fail('That was no file: drop a photograph.');
});
addEventListener('paste', e => { const given = [...e.clipboardData.files].find(f => f.type.startsWith('image/')); if (given) { e.preventDefault(); file(given); } });

async function start() {
  try {
    const about = await (await fetch('health')).json();
    const broken = about.broken ? `; ${about.broken} could not be read` : '';
    $('about').textContent = `${about.photos} photographs, ${about.captions} captions${broken}. Towers: ${about.towers}.`;
    $('query').placeholder = about.example;
    first = new URLSearchParams(location.search).get('q') || '';
    $('query').value = first;
    if (first) sentence(first); else say('Nothing has been asked yet.');
    document.body.dataset.ready = 'yes';
  } catch { fail('The server does not answer.'); }
}
start();
