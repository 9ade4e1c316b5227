'use strict';
// Draws on a canvas of 280 × 280, sends it as PNG, and shows the probabilities. Only this server is asked.
const $ = id => document.getElementById(id);
const canvas = $('canvas'), ctx = canvas.getContext('2d'), SIDE = canvas.width, STEP = 4, WAIT = 120;
const pen = {x: SIDE/2, y: SIDE/2, down: false, keys: false};
const pressed = new Set();
let size = 28, width = 24, timer = 0, latest = 0, dropped = 0, packing = 0, running = null, surface = null, stroke = null, moving = 0;

// The ink is kept on a canvas of its own, so that the keyboard's pen mark never gets into the picture.
function ink() {
  if (!surface) { surface = document.createElement('canvas'); surface.width = surface.height = SIDE; blank(); }
  return surface.getContext('2d');
}
function blank() { const c = surface.getContext('2d'); c.fillStyle = '#fff'; c.fillRect(0, 0, SIDE, SIDE); }

function show() {
  ink(); ctx.drawImage(surface, 0, 0);
  if (!pen.keys || document.activeElement !== canvas) return;
  ctx.beginPath(); ctx.arc(pen.x, pen.y, width/2 + 2, 0, 7);
  ctx.strokeStyle = '#b35900'; ctx.lineWidth = pen.down ? 5 : 2; ctx.stroke();
}

function line(from, to) {
  const c = ink();
  c.lineCap = c.lineJoin = 'round'; c.strokeStyle = '#000'; c.lineWidth = width;
  c.beginPath(); c.moveTo(from.x, from.y); c.lineTo(to.x, to.y + (from.x === to.x && from.y === to.y ? .01 : 0)); c.stroke();
  show(); later();
}

function say(text, error = false) { $('status').textContent = text; $('status').classList.toggle('error', error); }

function clear() {
  clearTimeout(timer); timer = 0; dropped = ++latest; busy(); pen.down = false;
  ink(); blank(); show(); bars(null); preview(null); say('Nothing is drawn yet.');
}

// Asking: while one draws, a picture every WAIT ms; one request under way and one waiting; answers from before a clear are dropped.
function busy() { $('answer').setAttribute('aria-busy', Boolean(timer || packing || running)); }
function later() {
  timer ||= setTimeout(pack, WAIT); busy();
}
function pack() {
  const at = dropped;
  timer = 0; packing++;
  surface.toBlob(picture => { packing--; if (at === dropped) ask(picture); else busy(); }, 'image/png');
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
  show(); say('Asking the server for its model.');
  try {
    const about = await (await fetch('health')).json();
    size = about.size; width = size < 16 ? 30 : 24;
    document.title = $('title').textContent = about.title;
    $('about').textContent = Object.entries(about.info).map(([k, v]) => `${k}: ${v}`).join(' · ');
    $('size').textContent = `${size} × ${size}`;
    $('bars').classList.toggle('words', about.classes.some(c => c.length > 2));
    $('bars').replaceChildren(...about.classes.map(bar));
    clear(); document.body.dataset.ready = 'yes';
  } catch { fail('the server does not answer.'); }
}

// Mouse, finger, pen.
function where(e) {
  const box = canvas.getBoundingClientRect(), edge = canvas.clientLeft, scale = SIDE/canvas.clientWidth;
  return {x: (e.clientX - box.left - edge)*scale, y: (e.clientY - box.top - edge)*scale};
}
canvas.addEventListener('pointerdown', e => {
  if (e.button || stroke) return;
  canvas.setPointerCapture(e.pointerId); pen.keys = pen.down = false;
  stroke = {id: e.pointerId, at: where(e)}; line(stroke.at, stroke.at);
});
canvas.addEventListener('pointermove', e => {
  if (!stroke || e.pointerId !== stroke.id) return;
  const all = e.getCoalescedEvents ? e.getCoalescedEvents() : [];
  for (const o of all.length ? all : [e]) { const to = where(o); line(stroke.at, to); stroke.at = to; }
});
for (const kind of ['pointerup', 'pointercancel']) canvas.addEventListener(kind, e => { if (stroke && e.pointerId === stroke.id) stroke = null; });

// Keyboard: two arrows together go diagonally; held keys move smoothly.
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
function move() {
  const from = {x: pen.x, y: pen.y};
  for (const k of pressed) {
    pen.x = Math.min(SIDE, Math.max(0, pen.x + STEP*ARROWS[k][0]));
    pen.y = Math.min(SIDE, Math.max(0, pen.y + STEP*ARROWS[k][1]));
  }
  if (pen.down) line(from, pen); else show();
}
function halt() { clearInterval(moving); moving = 0; pressed.clear(); }
canvas.addEventListener('keydown', e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key in ARROWS) {
    e.preventDefault(); pen.keys = true;
    if (e.repeat) return;
    pressed.add(e.key); move();
    if (!moving) moving = setInterval(move, 25);
  } else if (e.key === ' ') {
    e.preventDefault(); pen.keys = true;
    if (e.repeat) return;
    pen.down = !pen.down;
    say(pen.down ? 'The pen is down.' : 'The pen is up.');
    if (pen.down) line(pen, pen); else { show(); later(); }
  } else if (e.key === 'Delete' || e.key === 'Backspace') { e.preventDefault(); clear(); }
});
canvas.addEventListener('keyup', e => { pressed.delete(e.key); if (!pressed.size) halt(); });
canvas.addEventListener('focus', () => { pen.keys = canvas.matches(':focus-visible'); show(); });
canvas.addEventListener('blur', () => { halt(); pen.down = false; show(); });

// A file: shown on the canvas as it is, sent as it is.
$('clear').addEventListener('click', clear);
$('file').addEventListener('change', async e => {
  const file = e.target.files[0];
  e.target.value = '';
  if (!file) return;
  clear(); say(`Asking about ${file.name}.`);
  ask(file);
  const mine = latest;
  try {
    const picture = await createImageBitmap(file), k = Math.min(1, SIDE/Math.max(picture.width, picture.height));
    if (mine !== latest) return;
    const grow = Math.max(picture.width, picture.height) < SIDE/4 ? Math.floor(SIDE/Math.max(picture.width, picture.height)) : k;
    const w = picture.width*grow, h = picture.height*grow, c = ink();
    c.imageSmoothingEnabled = grow < 1; c.drawImage(picture, (SIDE-w)/2, (SIDE-h)/2, w, h); show();
  } catch { /* not a picture that the browser can show: the server's answer says what is wrong */ }
});

start();
