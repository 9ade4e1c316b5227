'use strict';
// A canvas to draw on with mouse, finger, pen and keyboard. The ink lies on a canvas of its own (`pad.ink`), so that the keyboard's pen mark
// never gets into the picture; the strokes are kept as points from 0 to 1 (`pad.strokes`). `tell` has change(), cleared() and say(text).
class Pad {
  constructor(canvas, tell, width = 24) {
    Object.assign(this, {canvas, tell, width, side: canvas.width, step: 4, strokes: [], stroke: null, moving: 0, pressed: new Set()});
    this.pen = {x: this.side/2, y: this.side/2, down: false, keys: false};
    this.ink = document.createElement('canvas');
    this.ink.width = this.ink.height = this.side;
    this.blank(); this.show(); this.listen();
  }

  blank() {
    const c = this.ink.getContext('2d');
    c.fillStyle = '#fff'; c.fillRect(0, 0, this.side, this.side); this.strokes = [];
  }

  clear() { this.pen.down = false; this.stroke = null; this.blank(); this.show(); this.tell.cleared(); }

  show() {
    const c = this.canvas.getContext('2d');
    c.drawImage(this.ink, 0, 0);
    if (!this.pen.keys || document.activeElement !== this.canvas) return;
    c.beginPath(); c.arc(this.pen.x, this.pen.y, this.width/2 + 2, 0, 7);
    c.strokeStyle = '#b35900'; c.lineWidth = this.pen.down ? 5 : 2; c.stroke();
  }

  begin(at) { this.strokes.push([]); this.point(at); this.line(at, at); }
  point(p) { this.strokes.at(-1).push([p.x/this.side, p.y/this.side].map(v => Math.round(1e4*Math.min(1, Math.max(0, v)))/1e4)); }
  go(from, to) { this.point(to); this.line(from, to); }
  line(from, to) {
    const c = this.ink.getContext('2d');
    c.lineCap = c.lineJoin = 'round'; c.strokeStyle = '#000'; c.lineWidth = this.width;
    c.beginPath(); c.moveTo(from.x, from.y); c.lineTo(to.x, to.y + (from.x === to.x && from.y === to.y ? .01 : 0)); c.stroke();
    this.show(); this.tell.change();
  }

  where(e) {
    const box = this.canvas.getBoundingClientRect(), edge = this.canvas.clientLeft, scale = this.side/this.canvas.clientWidth;
    return {x: (e.clientX - box.left - edge)*scale, y: (e.clientY - box.top - edge)*scale};
  }

  // Two arrows together go diagonally; held keys move smoothly.
  move() {
    const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}, {pen, side, step} = this, from = {x: pen.x, y: pen.y};
    for (const k of this.pressed) {
      pen.x = Math.min(side, Math.max(0, pen.x + step*arrows[k][0]));
      pen.y = Math.min(side, Math.max(0, pen.y + step*arrows[k][1]));
    }
    if (pen.down) this.go(from, pen); else this.show();
  }
  halt() { clearInterval(this.moving); this.moving = 0; this.pressed.clear(); }

  key(e) {
    const {pen} = this;
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key.startsWith('Arrow')) {
      e.preventDefault(); pen.keys = true;
      if (e.repeat) return;
      this.pressed.add(e.key); this.move();
      this.moving ||= setInterval(() => this.move(), 25);
    } else if (e.key === ' ') {
      e.preventDefault(); pen.keys = true;
      if (e.repeat) return;
      pen.down = !pen.down;
      this.tell.say(pen.down ? 'The pen is down.' : 'The pen is up.');
      if (pen.down) this.begin(pen); else { this.show(); this.tell.change(); }
    } else if (e.key === 'Delete' || e.key === 'Backspace') { e.preventDefault(); this.clear(); }
  }

  listen() {
    const on = (kind, f) => this.canvas.addEventListener(kind, f);
    on('pointerdown', e => {
      if (e.button || this.stroke) return;
      this.canvas.setPointerCapture(e.pointerId); this.pen.keys = this.pen.down = false;
      this.stroke = {id: e.pointerId, at: this.where(e)}; this.begin(this.stroke.at);
    });
    on('pointermove', e => {
      if (!this.stroke || e.pointerId !== this.stroke.id) return;
      const all = e.getCoalescedEvents ? e.getCoalescedEvents() : [];
      for (const o of all.length ? all : [e]) { const to = this.where(o); this.go(this.stroke.at, to); this.stroke.at = to; }
    });
    for (const kind of ['pointerup', 'pointercancel']) on(kind, e => { if (this.stroke && e.pointerId === this.stroke.id) this.stroke = null; });
    on('keydown', e => this.key(e));
    on('keyup', e => { this.pressed.delete(e.key); if (!this.pressed.size) this.halt(); });
    on('focus', () => { this.pen.keys = this.canvas.matches(':focus-visible'); this.show(); });
    on('blur', () => { this.halt(); this.pen.down = false; this.show(); });
  }
}
