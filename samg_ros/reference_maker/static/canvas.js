// SPDX-License-Identifier: Apache-2.0
// The picture with its masks: zoom, pan, and gestures of mouse, pen, fingers and keys.

const TAP = 6;  // CSS pixels that a finger may move during a tap

export class View {
  // `act` is told what was done, in pixels of the picture.
  constructor(canvas, act) {
    Object.assign(this, { canvas, act, image: null, layers: new Map(), marks: {}, tool: 'for',
      active: 'object', cut: false, radius: 12, scale: 1, x: 0, y: 0, fitted: true, cursor: null,
      pointers: new Map(), gesture: null });
    new ResizeObserver(() => { if (this.fitted) this.fit(); else this.draw(); }).observe(canvas);
    canvas.addEventListener('pointerdown', event => this.down(event));
    canvas.addEventListener('pointermove', event => this.move(event));
    for (const name of ['pointerup', 'pointercancel'])
      canvas.addEventListener(name, event => this.up(event));
    canvas.addEventListener('pointerleave', () => { this.hover = null; this.draw(); });
    canvas.addEventListener('contextmenu', event => event.preventDefault());
    canvas.addEventListener('wheel', event => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), ...this.place(event));
    }, { passive: false });
    canvas.addEventListener('keydown', event => this.key(event));
    canvas.addEventListener('blur', () => { this.cursor = null; this.draw(); });
  }

  show(image) {
    this.image = image;
    this.layers.clear();
    this.fit();
  }

  // The mask of a layer: a picture that is opaque on the object.
  setMask(layer, mask, colour) {
    const outline = surface(mask), outside = surface(mask);
    const width = Math.max(1, Math.max(mask.width, mask.height) / 320);
    for (let i = 0; i < 8; i++)
      outline.drawImage(mask, Math.cos(i * Math.PI / 4) * width, Math.sin(i * Math.PI / 4) * width);
    outline.globalCompositeOperation = 'destination-out';
    outline.drawImage(mask, 0, 0);
    outline.globalCompositeOperation = 'source-in';
    outline.fillStyle = colour;
    outline.fillRect(0, 0, mask.width, mask.height);
    outside.fillStyle = 'rgb(0 0 0 / .5)';
    outside.fillRect(0, 0, mask.width, mask.height);
    outside.globalCompositeOperation = 'destination-out';
    outside.drawImage(mask, 0, 0);
    this.layers.set(layer, { mask, outline: outline.canvas, outside: outside.canvas });
    this.draw();
  }

  fit() {
    this.fitted = true;
    if (!this.image) return this.draw();
    const { clientWidth: w, clientHeight: h } = this.canvas;
    this.scale = Math.min(w / this.image.width, h / this.image.height) * 0.98;
    this.x = (w - this.image.width * this.scale) / 2;
    this.y = (h - this.image.height * this.scale) / 2;
    this.draw();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(40, Math.max(0.02, this.scale * factor));
    this.x = x - (x - this.x) * scale / this.scale;
    this.y = y - (y - this.y) * scale / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Where in the picture, kept inside it, and whether it was inside.
  toPicture([x, y]) {
    const px = (x - this.x) / this.scale, py = (y - this.y) / this.scale;
    const { width, height } = this.image;
    const at = [Math.min(width - 1, Math.max(0, px - 0.5)), Math.min(height - 1, Math.max(0, py - 0.5))];
    return { at, inside: px >= 0 && py >= 0 && px < width && py < height };
  }

  down(event) {
    if (!this.image) return;
    this.cursor = null;
    try { this.canvas.setPointerCapture(event.pointerId); } catch { /* it has left already */ }
    const place = this.place(event);
    this.pointers.set(event.pointerId, place);
    if (this.pointers.size === 2) { this.gesture = { kind: 'pinch' }; return this.draw(); }
    const { at, inside } = this.toPicture(place);
    const kind = event.button === 1 || this.space ? 'pan'
      : { box: 'box', brush: 'stroke', eraser: 'stroke' }[this.tool] ?? 'tap';
    if (kind !== 'pan' && kind !== 'box' && !inside && this.tool !== 'brush') return;
    this.gesture = { kind, start: place, from: at, to: at, points: [at], opposite: event.button === 2 };
    this.draw();
  }

  move(event) {
    if (!this.image) return;
    const place = this.place(event), before = this.pointers.get(event.pointerId);
    this.hover = place;
    if (!before) return this.draw();
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, place);
    const gesture = this.gesture;
    if (gesture?.kind === 'pinch' && others.length) {
      const other = others[0][1], distance = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
      this.x += (place[0] - before[0]) / 2;
      this.y += (place[1] - before[1]) / 2;
      this.zoom(distance(place) / Math.max(1, distance(before)), (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
    } else if (gesture) {
      if (gesture.kind === 'tap' && Math.hypot(place[0] - gesture.start[0], place[1] - gesture.start[1]) > TAP)
        gesture.kind = 'pan';
      if (gesture.kind === 'pan') {
        this.x += place[0] - before[0];
        this.y += place[1] - before[1];
        this.fitted = false;
      }
      gesture.to = this.toPicture(place).at;
      if (gesture.kind === 'stroke')
        for (const each of event.getCoalescedEvents?.() ?? [event]) gesture.points.push(this.toPicture(this.place(each)).at);
    }
    this.draw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    const gesture = this.gesture;
    if (!gesture) return;
    if (gesture.kind === 'pinch') {
      if (!this.pointers.size) this.gesture = null;
      return;
    }
    this.gesture = null;
    if (event.type === 'pointerup') {
      if (gesture.kind === 'tap') this.tap(gesture.from, gesture.opposite);
      if (gesture.kind === 'stroke')
        this.act({ kind: 'stroke', points: thinned(gesture.points), radius: this.radius, add: this.tool === 'brush' });
      if (gesture.kind === 'box')
        this.act({ kind: 'box', x0: gesture.from[0], y0: gesture.from[1], x1: gesture.to[0], y1: gesture.to[1] });
    }
    this.draw();
  }

  tap([x, y], opposite) {
    if (this.tool === 'point') this.act({ kind: 'point', x, y });
    else this.act({ kind: 'click', x, y, positive: (this.tool !== 'against') !== opposite });
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.image || event.ctrlKey || event.metaKey) return;
    if (step) {
      const size = event.shiftKey ? 1 : 12;
      this.cursor ??= [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
      this.cursor = this.cursor.map((value, i) => Math.min(i ? this.canvas.clientHeight : this.canvas.clientWidth, Math.max(0, value + step[i] * size)));
    } else if (event.key === 'Enter' && this.cursor) {
      const { at, inside } = this.toPicture(this.cursor);
      if (inside) this.tap(at, event.shiftKey);
    } else return;
    event.preventDefault();
    this.draw();
  }

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.paint(); });
  }

  paint() {
    const { canvas, image } = this, dense = window.devicePixelRatio || 1;
    const [w, h] = [canvas.clientWidth * dense, canvas.clientHeight * dense].map(Math.round);
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const pen = canvas.getContext('2d');
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, w, h);
    if (!image) return;
    pen.setTransform(dense * this.scale, 0, 0, dense * this.scale, dense * this.x, dense * this.y);
    pen.imageSmoothingEnabled = this.scale * dense < 3;
    const active = this.layers.get(this.active);
    if (this.cut && active) {
      pen.fillStyle = '#000';
      pen.fillRect(0, 0, image.width, image.height);
      const hole = surface(active.mask);
      hole.drawImage(active.mask, 0, 0);
      hole.globalCompositeOperation = 'source-in';
      hole.drawImage(image, 0, 0, active.mask.width, active.mask.height);
      pen.drawImage(hole.canvas, 0, 0);
    } else {
      pen.drawImage(image, 0, 0);
      if (active) pen.drawImage(active.outside, 0, 0, image.width, image.height);
      for (const [name, layer] of this.layers) {
        pen.globalAlpha = name === this.active ? 1 : 0.65;
        pen.drawImage(layer.outline, 0, 0);
      }
      pen.globalAlpha = 1;
    }
    this.paintMarks(pen, 1 / this.scale);
  }

  paintMarks(pen, px) {
    const { clicks = [], box, points = [] } = this.marks, gesture = this.gesture;
    const drawn = gesture?.kind === 'box' ? [...gesture.from, ...gesture.to] : box;
    if (drawn) {
      pen.lineWidth = 2 * px;
      for (const [colour, dash] of [['#000', []], ['#fff', [6 * px, 4 * px]]]) {
        pen.strokeStyle = colour;
        pen.setLineDash(dash);
        pen.strokeRect(drawn[0] + .5, drawn[1] + .5, drawn[2] - drawn[0], drawn[3] - drawn[1]);
      }
      pen.setLineDash([]);
    }
    for (const [x, y, positive] of clicks) sign(pen, x + .5, y + .5, px, positive ? '#009e73' : '#d02f1f', positive);
    points.forEach(([x, y], i) => {
      disc(pen, x + .5, y + .5, 8 * px, '#0072b2', px);
      pen.fillStyle = '#fff';
      pen.font = `${11 * px}px sans-serif`;
      pen.textAlign = 'center';
      pen.fillText(i + 1, x + .5, y + .5 + 4 * px);
    });
    if (gesture?.kind === 'stroke') {
      pen.strokeStyle = this.tool === 'brush' ? 'rgb(0 158 115 / .6)' : 'rgb(208 47 31 / .6)';
      pen.lineWidth = 2 * this.radius;
      pen.lineCap = pen.lineJoin = 'round';
      pen.beginPath();
      gesture.points.forEach(([x, y]) => pen.lineTo(x + .5, y + .5));
      pen.lineTo(gesture.to[0] + .6, gesture.to[1] + .5);
      pen.stroke();
    } else if (this.hover && (this.tool === 'brush' || this.tool === 'eraser')) {
      const { at } = this.toPicture(this.hover);
      pen.lineWidth = 1.5 * px;
      for (const [colour, by] of [['#000', 0], ['#fff', px]]) {
        pen.strokeStyle = colour;
        pen.beginPath();
        pen.arc(at[0] + .5, at[1] + .5, this.radius + by, 0, 7);
        pen.stroke();
      }
    }
    if (this.cursor) {
      const { at: [x, y] } = this.toPicture(this.cursor);
      for (const [colour, width] of [['#000', 4], ['#fff', 2]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width * px;
        pen.beginPath();
        pen.moveTo(x - 14 * px, y); pen.lineTo(x + 14 * px, y);
        pen.moveTo(x, y - 14 * px); pen.lineTo(x, y + 14 * px);
        pen.stroke();
      }
    }
  }
}

export function surface({ width, height }) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext('2d');
}

export function sign(pen, x, y, px, colour, plus) {
  disc(pen, x, y, 7 * px, colour, px);
  pen.strokeStyle = '#fff';
  pen.lineWidth = 2 * px;
  pen.beginPath();
  pen.moveTo(x - 3.5 * px, y); pen.lineTo(x + 3.5 * px, y);
  if (plus) { pen.moveTo(x, y - 3.5 * px); pen.lineTo(x, y + 3.5 * px); }
  pen.stroke();
}

function disc(pen, x, y, radius, colour, px) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fillStyle = colour;
  pen.fill();
  pen.lineWidth = 1.5 * px;
  pen.strokeStyle = '#fff';
  pen.stroke();
}

// At most 2000 points: a quick hand draws no finer.
function thinned(points) {
  const step = Math.ceil(points.length / 2000);
  return points.filter((_, i) => i % step === 0 || i === points.length - 1);
}
