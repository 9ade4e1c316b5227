'use strict';
// Draws on a canvas of 280 × 280, sends it as PNG, and shows the probabilities. Only this server is asked.
const $ = id => document.getElementById(id);
const WAIT = 120;
let pad, size = 28, timer = 0, latest = 0, dropped = 0, packing = 0, running = null;

function say(text, error = false) { $('status').textContent = text; $('status').classList.toggle('error', error); }
function reset() { clearTimeout(timer); timer = 0; dropped = ++latest; busy(); bars(null); preview(null); say('Nothing is drawn yet.'); }

// Asking: while one draws, a picture every WAIT ms; one request under way and one waiting; answers from before a clear are dropped.
function busy() { $('answer').setAttribute('aria-busy', Boolean(timer || packing || running)); }
function later() {
  timer ||= setTimeout(pack, WAIT); busy();
}
function pack() {
  const at = dropped;
  timer = 0; packing++;
  pad.ink.toBlob(picture => { packing--; if (at === dropped) ask(picture); else busy(); }, 'image/png');
}

async function ask(picture) {
  const mine = ++latest;
  while (running) { await running; if (mine !== latest) return; }
  let done; running = new Promise(r => { done = r; }); busy();
  try {
    const r = await fetch('predict?image=1', {method: 'POST', headers: {'Content-Type': picture.type || 'application/octet-stream'}, body: picture});
    const answer = await r.json();
    if (mine > dropped) r.ok ? tell(answer) : fail(answer.error);
  } catch { if (mine > dropped) fail('The server does not answer.'); }
  finally { running = null; done(); busy(); }
}

function fail(message) { bars(null); preview(null); say(`No answer: ${message}`, true); }

function tell(answer) {
  const p = answer.predictions[0];
  bars(p); preview(p.image);
  say(`The model says ${p.label}, with probability ${percent(p.probability)} (${answer.milliseconds.toFixed(1)} ms).`);
}

function percent(v) { return `${(100*v).toFixed(1)} %`; }

function bars(p) {
  for (const li of $('bars').children) {
    const v = p ? p.probabilities[li.dataset.label] : 0;
    li.querySelector('.fill').style.transform = `scaleX(${v})`;
    li.querySelector('.value').textContent = p ? percent(v) : '';
    li.classList.toggle('top', Boolean(p) && p.label === li.dataset.label);
  }
}

function preview(rows) {
  const c = $('preview').getContext('2d', {willReadFrequently: true});
  $('preview').width = $('preview').height = size;
  if (!rows) return;
  const data = c.createImageData(size, size);
  rows.flat().forEach((v, i) => data.data.set([v, v, v, 255], 4*i));
  c.putImageData(data, 0, 0);
}

function part(kind, text) { const e = document.createElement('span'); e.className = kind; e.textContent = text; return e; }

function bar(label) {
  const li = document.createElement('li'), track = part('track', '');
  li.dataset.label = label;
  track.append(part('fill', ''));
  li.append(part('name', label), track, part('value', ''));
  return li;
}

async function start() {
  pad = new Pad($('canvas'), {change: later, cleared: reset, say});
  say('Asking the server for its model.');
  try {
    const about = await (await fetch('health')).json();
    size = about.size; pad.width = size < 16 ? 30 : 24;
    document.title = $('title').textContent = about.title;
    const short = v => typeof v === 'number' ? Number(v.toPrecision(4)) : v;
    $('about').textContent = Object.entries(about.info).map(([k, v]) => `${k}: ${short(v)}`).join(' · ');
    $('size').textContent = `${size} × ${size}`;
    $('bars').classList.toggle('words', about.classes.some(c => c.length > 2));
    $('bars').replaceChildren(...about.classes.map(bar));
    pad.clear(); document.body.dataset.ready = 'yes';
  } catch { fail('the server does not answer.'); }
}

// A file: shown on the canvas as it is, sent as it is.
$('clear').addEventListener('click', () => pad.clear());
$('file').addEventListener('change', async e => {
  const file = e.target.files[0];
  e.target.value = '';
  if (!file) return;
  pad.clear(); say(`Asking about ${file.name}.`);
  ask(file);
  const mine = latest;
  try {
    const picture = await createImageBitmap(file), SIDE = pad.side, k = Math.min(1, SIDE/Math.max(picture.width, picture.height));
    if (mine !== latest) return;
    const grow = Math.max(picture.width, picture.height) < SIDE/4 ? Math.floor(SIDE/Math.max(picture.width, picture.height)) : k;
    const w = picture.width*grow, h = picture.height*grow, c = pad.ink.getContext('2d');
    c.imageSmoothingEnabled = grow < 1; c.drawImage(picture, (SIDE-w)/2, (SIDE-h)/2, w, h); pad.show();
  } catch { /* not a picture that the browser can show: the server's answer says what is wrong */ }
});

start();
