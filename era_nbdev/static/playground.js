'use strict';
// The page of `era serve playground`: asks a run about the drawing, shows what happens inside it, and draws the curves of chosen runs. Only this server is asked.
const $ = id => document.getElementById(id);
const WAIT = 120, REFRESH = 3000, DASHES = ['', '7 4', '2 3', '9 3 2 3', '4 4', '1 4'];
const rows = new Map(), chosen = new Set(), takes = new Map(); // run -> {list, next}; names of runs; run -> what it takes
let pad, runs = [], timer = 0, latest = 0, dropped = 0, running = null, source = null, redraw = 0, wanted = '', streaming = [];

function say(text, error = false) { $('status').textContent = text; $('status').classList.toggle('error', error); }
function percent(v) { return `${(100*v).toFixed(1)} %`; }
function make(kind, props = {}, ...inside) { const e = Object.assign(document.createElement(kind), props); e.append(...inside); return e; }
async function get(url) {
  const r = await fetch(url), answer = await r.json();
  if (!r.ok) throw new Error(answer.error);
  return answer;
}
function at(name) { return `api/runs/${name.split('/').map(encodeURIComponent).join('/')}`; }
function label(run) { return `${run.name} · ${run.scale}${run.metrics.accuracy ? ` · accuracy ${percent(run.metrics.accuracy)}` : ''}`; }

// ---- the drawing: a question every WAIT ms while one draws; one under way, one waiting; answers from before a clear are dropped.
function busy() { $('answer').setAttribute('aria-busy', Boolean(timer || running)); }
function later() { if (pad.strokes.length) timer ||= setTimeout(() => { timer = 0; ask(); }, WAIT); busy(); }
function reset() { clearTimeout(timer); timer = 0; dropped = ++latest; busy(); bars(null); pictures(null); say('Nothing is drawn yet.'); }

async function ask() {
  const mine = ++latest, model = $('model').value;
  if (!model) return say('No trained model here yet: era run mnist makes one.', true);
  while (running) { await running; if (mine !== latest) return; }
  let done; running = new Promise(r => { done = r; }); busy();
  try {
    const r = await fetch(`${at(model)}/explain`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({strokes: pad.strokes})});
    const answer = await r.json();
    if (mine > dropped) r.ok ? tell(answer) : fail(answer.error);
  } catch { if (mine > dropped) fail('The server does not answer.'); }
  finally { running = null; done(); busy(); }
}
function fail(message) { bars(null); pictures(null); say(`No answer: ${message}`, true); }
function tell(a) { bars(a); pictures(a); say(`The model says ${a.label}, with probability ${percent(a.probability)} (${a.milliseconds.toFixed(1)} ms).`); }

function bars(a) {
  const labels = a ? Object.keys(a.probabilities) : null, now = [...$('bars').children].map(li => li.dataset.label);
  if (a && labels.join() !== now.join()) prepare(labels);
  for (const li of $('bars').children) {
    const v = a ? a.probabilities[li.dataset.label] : 0;
    li.querySelector('.fill').style.transform = `scaleX(${v})`;
    li.querySelector('.value').textContent = a ? percent(v) : '';
    li.classList.toggle('top', Boolean(a) && a.label === li.dataset.label);
  }
}
function prepare(labels) {
  const span = (c, t = '') => make('span', {className: c, textContent: t});
  $('bars').classList.toggle('words', labels.some(l => l.length > 2));
  $('bars').replaceChildren(...labels.map(l => {
    const li = make('li', {}, span('name', l), make('span', {className: 'track'}, span('fill')), span('value'));
    li.dataset.label = l; return li;
  }));
}

// ---- inside the model
function paint(canvas, size, colour) { // colour(i) -> [r, g, b]
  canvas.width = canvas.height = size;
  const c = canvas.getContext('2d', {willReadFrequently: true}), data = c.createImageData(size, size);
  for (let i = 0; i < size*size; i++) data.data.set([...colour(i), 255], 4*i);
  c.putImageData(data, 0, 0);
}
function pictures(a) {
  const size = a ? a.image.length : 28, image = a ? a.image.flat() : null, sal = a && a.saliency ? a.saliency.flat() : null;
  paint($('preview'), size, i => { const v = image ? image[i] : 0; return [v, v, v]; });
  paint($('saliency'), size, i => { // grey ink below, orange where it matters
    const v = image ? image[i]/4 : 0, s = sal ? sal[i]/255 : 0;
    return [v + (255-v)*s, v + (140-v)*s*.9, v*(1-s)];
  });
  $('saliency').setAttribute('aria-label', sal ? `Saliency: ${sal.filter(v => v > 127).length} of ${sal.length} pixels matter at least half as much as the strongest` : 'Saliency: which pixels matter');
  $('inside-note').hidden = Boolean(a && a.note);
  if (a && a.note) return $('layers').replaceChildren(make('p', {className: 'note', textContent: a.note}));
  layers(a ? a.hidden : []);
}
function layers(hidden) {
  const style = getComputedStyle(document.documentElement), rgb = style.getPropertyValue('--unit');
  $('layers').replaceChildren(...hidden.map(({name, values}) => {
    const n = values.length, cols = Math.min(n, 32), side = 14, top = Math.max(...values.map(Math.abs), 1e-9);
    const canvas = make('canvas', {width: cols*side, height: Math.ceil(n/cols)*side}), c = canvas.getContext('2d');
    values.forEach((v, i) => {
      const x = i % cols*side, y = Math.floor(i/cols)*side;
      c.fillStyle = `rgba(${rgb}, ${Math.abs(v)/top})`; c.fillRect(x+1, y+1, side-2, side-2);
      if (v < 0) { c.strokeStyle = style.getPropertyValue('--text'); c.lineWidth = 1; c.beginPath(); c.moveTo(x+2, y+side-2); c.lineTo(x+side-2, y+2); c.stroke(); }
    });
    const on = values.filter(v => v > .05*top).length, best = values.indexOf(Math.max(...values));
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${name}: ${on} of ${n} units active, most of all unit ${best} with ${values[best].toFixed(2)}`);
    return make('figure', {}, canvas, make('figcaption', {textContent: `${name}: ${on} of ${n} units active`}));
  }));
}

// ---- runs and their curves
async function refresh() {
  let answer;
  try { answer = await get('api/runs'); } catch (e) { $('live').textContent = `The list of runs cannot be had: ${e.message}`; return; }
  const before = JSON.stringify(runs.map(r => [r.name, r.state]));
  runs = answer.runs;
  $('none').hidden = Boolean(runs.length); $('choice').hidden = !runs.length;
  for (const name of [...chosen]) if (!runs.some(r => r.name === name)) { chosen.delete(name); rows.delete(name); }
  if (JSON.stringify(runs.map(r => [r.name, r.state])) === before) return;
  const asked = models(answer.chosen); list();
  if (!chosen.size && runs.length) chosen.add(answer.chosen || runs[0].name), list();
  follow();
  await asked;
}
function models(first) {
  const old = $('model').value || first, groups = new Map();
  for (const r of runs) if (r.checkpoint && (r.takes === null || r.takes.size)) groups.set(r.experiment, [...groups.get(r.experiment) || [], r]); // null: not asked yet
  $('model').replaceChildren(...[...groups].map(([name, rs]) => make('optgroup', {label: name}, ...rs.map(r => make('option', {value: r.name, textContent: label(r)})))));
  if ([...$('model').options].some(o => o.value === old)) $('model').value = old;
  if (!$('bars').children.length) return classes();
}
async function classes() { // what a run takes is asked when it is chosen
  const name = $('model').value;
  if (!runs.some(r => r.name === name)) return;
  if (!takes.has(name)) {
    try { takes.set(name, (await get(at(name))).takes); } catch (e) { return fail(e.message); }
    if ($('model').value !== name) return;
  }
  const run = {takes: takes.get(name)};
  if (!run.takes.size) return fail('this run takes no drawings.');
  pad.width = run.takes.size < 16 ? 30 : 24; prepare(run.takes.classes); reset();
  if (pad.strokes.length) later();
}
function list() {
  const focus = document.activeElement && document.activeElement.value;
  $('list').replaceChildren(...runs.map(r => {
    const box = make('input', {type: 'checkbox', value: r.name, checked: chosen.has(r.name)});
    box.addEventListener('change', () => { box.checked ? chosen.add(r.name) : (chosen.delete(r.name), rows.delete(r.name)); follow(); });
    return make('li', {}, make('label', {}, box, make('span', {textContent: label(r)}), make('span', {className: `state ${r.state}`, textContent: r.state})));
  }));
  if (focus) { const same = [...$('list').querySelectorAll('input')].find(b => b.value === focus); if (same) same.focus(); }
}
async function load(name) {
  const answer = await get(`${at(name)}/metrics?since=${rows.has(name) ? rows.get(name).next : 0}`);
  take(name, answer.rows, answer.next, answer.reset);
}
function take(name, more, next, again) {
  if (!chosen.has(name)) return;
  const old = rows.get(name);
  rows.set(name, {list: again || !old ? more : [...old.list, ...more], next});
  if (!redraw) redraw = requestAnimationFrame(() => { redraw = 0; metrics(); chart(); compare(); });
}
async function follow() { // fetch what is missing, then a stream for those that still train
  if (source) { source.close(); source = null; }
  const mine = wanted = [...chosen].join();
  for (const name of chosen) { try { await load(name); } catch (e) { $('live').textContent = e.message; } if (wanted !== mine) return; }
  if (!chosen.size) { metrics(); chart(); compare(); }
  const open = runs.filter(r => chosen.has(r.name) && r.state !== 'finished' && rows.has(r.name));
  const ended = streaming.find(n => runs.some(r => r.name === n && r.state === 'finished')); // the list may know before the stream says so
  if (ended) $('live').textContent = `${ended}: finished.`;
  streaming = open.map(r => r.name);
  if (!open.length) return;
  source = new EventSource(`api/events?${open.map(r => `run=${encodeURIComponent(r.name)}&since=${rows.get(r.name).next}`).join('&')}`);
  source.addEventListener('rows', e => {
    const d = JSON.parse(e.data); take(d.run, d.rows, d.next, d.reset);
    $('live').textContent = `${d.run} is training: step ${Math.max(0, ...rows.get(d.run)?.list.map(o => o.step) ?? [0])}.`;
  });
  source.addEventListener('end', e => { const d = JSON.parse(e.data); source.close(); source = null; $('live').textContent = `${d.run}: ${d.why}.`; refresh(); });
  source.addEventListener('error', () => { if (source && source.readyState === EventSource.CLOSED) { source = null; $('live').textContent = 'Too many pages are watching: this one looks every few seconds.'; } });
}
function metrics() {
  const names = [...new Set([...chosen].flatMap(n => rows.has(n) ? rows.get(n).list.flatMap(o => Object.keys(o).filter(k => typeof o[k] === 'number')) : []))]
    .filter(k => !['step', 'time', 'epoch'].includes(k)), old = $('metric').value || 'loss';
  if (names.join() === [...$('metric').options].map(o => o.value).join()) return;
  $('metric').replaceChildren(...names.map(k => make('option', {value: k, textContent: k.replaceAll('_', ' ')})));
  if (names.includes(old)) $('metric').value = old;
}

function svg(kind, attributes, text) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', kind);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}
function number(v) { return v === 0 ? '0' : Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(3)); }
function series() {
  const key = $('metric').value, log = $('log').checked;
  return [...chosen].filter(n => rows.has(n)).map((name, i) => ({name, i, points: rows.get(name).list.filter(o => typeof o[key] === 'number' && (!log || o[key] > 0)).map(o => [o.step, o[key]])}))
    .filter(s => s.points.length);
}
function ticks(lo, hi, log) {
  if (log) { const out = []; for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) for (const m of [1, 2, 5]) { const v = m*10**e; if (v >= lo*.999 && v <= hi*1.001) out.push(v); } return out.length > 7 ? out.filter(v => Math.abs(Math.log10(v) % 1) < 1e-9) : out; }
  const raw = (hi-lo)/6 || 1, base = 10**Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(m => m*base).find(s => s >= raw), out = [];
  for (let v = Math.ceil(lo/step)*step; v <= hi*(1+1e-9); v += step) out.push(Math.abs(v) < 1e-12 ? 0 : v);
  return out;
}
function chart() {
  const all = series(), key = $('metric').value, log = $('log').checked, wide = Math.max(280, Math.min(1000, $('chart').clientWidth)), W = wide, H = Math.round(Math.max(220, wide*.38)), m = {l: 52, r: 10, t: 10, b: 40};
  if (!all.length) { $('chart').replaceChildren(); $('summary').textContent = chosen.size ? 'Nothing was logged yet.' : 'No run is chosen.'; return; }
  const xs = all.flatMap(s => s.points.map(p => p[0])), ys = all.flatMap(s => s.points.map(p => p[1])), min = a => a.reduce((p, q) => Math.min(p, q)), max = a => a.reduce((p, q) => Math.max(p, q));
  const x0 = min(xs), x1 = Math.max(max(xs), x0+1), f = log ? Math.log : v => v; let y0 = min(ys), y1 = max(ys);
  if (y0 === y1) { y0 = log ? y0/2 : y0-1; y1 = log ? y1*2 : y1+1; }
  const X = v => m.l + (v-x0)/(x1-x0)*(W-m.l-m.r), Y = v => H-m.b - (f(v)-f(y0))/(f(y1)-f(y0))*(H-m.t-m.b);
  const s = svg('svg', {viewBox: `0 0 ${W} ${H + 18*all.length}`, role: 'img', 'aria-labelledby': 'summary'});
  for (const v of ticks(y0, y1, log)) s.append(svg('line', {class: 'axis', x1: m.l, x2: W-m.r, y1: Y(v), y2: Y(v)}), svg('text', {x: m.l-6, y: Y(v)+4, 'text-anchor': 'end'}, number(v)));
  for (const v of ticks(x0, x1, false)) s.append(svg('text', {x: X(v), y: H-m.b+16, 'text-anchor': 'middle'}, number(v)));
  s.append(svg('text', {x: (m.l+W-m.r)/2, y: H-4, 'text-anchor': 'middle'}, 'step'));
  for (const {name, i, points} of all) {
    const k = Math.ceil(points.length/1500), shown = points.filter((_, j) => j % k === 0 || j === points.length-1), look = {stroke: `var(--c${i % 6})`, 'stroke-dasharray': DASHES[i % 6]};
    s.append(svg('polyline', {class: 'line', ...look, points: shown.map(p => `${X(p[0]).toFixed(1)},${Y(p[1]).toFixed(1)}`).join(' '), 'data-run': name, 'data-points': points.length}));
    const y = H + 18*i + 8;
    s.append(svg('line', {class: 'line', ...look, x1: m.l, x2: m.l+32, y1: y, y2: y}), svg('text', {class: 'key', x: m.l+40, y: y+4}, name));
  }
  $('chart').replaceChildren(s);
  $('summary').textContent = all.map(({name, points}) => `${name}: ${key.replaceAll('_', ' ')} ${number(points.at(-1)[1])} at step ${points.at(-1)[0]}, lowest ${number(min(points.map(p => p[1])))}, highest ${number(max(points.map(p => p[1])))}`).join('; ') + '.';
}
function compare() {
  const rs = [...chosen].map(n => runs.find(r => r.name === n)).filter(Boolean), keys = o => [...new Set(rs.flatMap(r => Object.keys(r[o])))];
  if (!rs.length) return $('compare').replaceChildren();
  const text = v => v === undefined ? '' : typeof v === 'number' ? number(v) : Array.isArray(v) ? v.join(' × ') : String(v);
  const differ = keys('settings').filter(k => new Set(rs.map(r => text(r.settings[k]))).size > 1), line = (k, v) => make('tr', {}, make('th', {scope: 'row', textContent: k.replaceAll('_', ' ')}), ...rs.map(r => make('td', {textContent: v(r)})));
  const head = make('tr', {}, make('td'), ...rs.map(r => make('th', {scope: 'col', textContent: r.name})));
  $('compare').replaceChildren(make('caption', {className: 'note', textContent: rs.length > 1 ? 'Settings that differ, and results' : 'Results'}), make('thead', {}, head),
    make('tbody', {}, ...['scale', 'seed', 'state'].map(k => line(k, r => text(r[k]))), ...differ.map(k => line(k, r => text(r.settings[k]))), ...keys('metrics').map(k => line(k, r => text(r.metrics[k])))));
}

function start() {
  pad = new Pad($('canvas'), {change: later, cleared: reset, say});
  pictures(null);
  $('clear').addEventListener('click', () => pad.clear());
  $('model').addEventListener('change', () => classes());
  $('metric').addEventListener('change', chart); $('log').addEventListener('change', chart);
  addEventListener('resize', chart);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', later);
  refresh().then(() => { document.body.dataset.ready = 'yes'; });
  setInterval(async () => { await refresh(); if (!source) for (const r of runs) if (chosen.has(r.name) && r.state !== 'finished') await load(r.name).catch(() => {}); }, REFRESH);
}
start();
