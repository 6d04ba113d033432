// SPDX-License-Identifier: Apache-2.0
// The page: what is shown of the samg command's document, and what a person does to it.

import { change, picture, request, shows } from './server.js';
import { View } from './canvas.js';
import { Trial } from './trial.js';

const OBJECT = 'object', COLOUR = '#00b37d';
const HINTS = {
  for: 'Click on the object; right mouse button: beside it. Drag moves the picture, the wheel zooms.',
  against: 'Click on what does not belong to the object; right mouse button: on the object.',
  box: 'Draw a box around the whole object. Nothing outside it will be in the mask.',
  brush: 'Paint what is missing.', eraser: 'Wipe away what is too much.',
  point: 'Mark places that the masker must find again, such as a handle. They are tried in every frame.' };
const $ = id => document.getElementById(id);

let state = { pictures: [], parts: [], revision: 0 }, shown = null, active = OBJECT, busy = 0, answered = 0, watching = false;
const view = new View($('canvas'), act);
const trial = new Trial($('trial'), COLOUR);

const current = () => state.pictures.find(one => one.id === shown);
const colourOf = layer => state.parts.find(part => part.id === layer)?.colour ?? COLOUR;

async function attempt(work) {
  document.body.dataset.busy = ++busy;
  try {
    return await work();
  } catch (error) {
    say(error.message);
    if (error.state) await update(error.state);
  } finally {
    document.body.dataset.busy = --busy;
  }
}

function say(text) {
  $('message').textContent = text ?? '';
  $('message').hidden = !text;
}

// Changes the document and shows what has become of it.
function edit(what) {
  return attempt(async () => {
    const began = performance.now();
    const [id, layer] = [what.picture, what.layer];
    const found = await change(what);
    say();
    const mask = found.mask && await picture(found.mask);
    if (mask && id === shown && found.revision >= state.revision) view.setMask(layer, mask, colourOf(layer));
    await update(found);
    document.body.dataset.answered = ++answered;
    document.body.dataset.answeredMs = Math.round(performance.now() - began);
    return found;
  });
}

function act(what) {
  if (shown === null) return;
  if (what.kind === 'point') return edit({ do: 'point', picture: shown, x: what.x, y: what.y });
  if (what.kind === 'click') { view.marks.clicks = [...view.marks.clicks ?? [], [what.x, what.y, what.positive]]; view.draw(); }
  return edit({ do: 'edit', picture: shown, layer: active, edit: what });
}

async function update(found) {
  if (found.revision < state.revision) return;  // a later answer was here first
  shows(found.revision);
  state = found;
  if (found.shown !== undefined) shown = found.shown;
  if (found.part !== undefined) active = found.part;
  if (!current()) shown = state.pictures.at(-1)?.id ?? null;
  if (active !== OBJECT && !state.parts.some(part => part.id === active)) active = OBJECT;
  render();
  if (view.shown !== shown) await showPicture();
  else if (current()) {
    view.marks = { ...current().layers[active], points: current().points };
    view.active = active;
    for (const layer of view.layers.keys()) if (!current().layers[layer]) view.layers.delete(layer);
    view.draw();
  }
}

async function showPicture() {
  const id = view.shown = shown;
  if (id === null) return view.show(null);
  const image = await picture(`api/pictures/${id}/image.jpg`);
  if (id !== shown) return;
  view.show(image);
  await showMasks(id);
}

async function showMasks(id) {
  const masks = await request(`api/pictures/${id}/masks`);
  for (const [layer, mask] of Object.entries(masks)) if (id === shown) view.setMask(layer, await picture(mask), colourOf(layer));
  if (!current()) return;
  view.marks = { ...current().layers[active], points: current().points };
  view.active = active;
  view.draw();
}

function render() {
  const now = current(), layer = now?.layers[active];
  $('about').textContent = `${state.out}, model ${state.model}`;
  $('saved').textContent = state.pictures.length ? (state.saved ? 'Saved' : 'Not saved yet') : '';
  $('empty').hidden = Boolean(now);
  $('undo').disabled = !layer?.undo;
  $('redo').disabled = !layer?.redo;
  $('clear').disabled = !layer?.area;
  for (const id of ['save', 'try', 'check', 'try-source', 'add-part']) $(id).disabled = !now;
  $('remove').disabled = !now;
  $('try-source').hidden = !state.source;
  $('remove-part').hidden = active === OBJECT;
  $('points').textContent = now?.points.length ? `${now.points.length} points to find again. ` : '';
  if (now?.points.length) $('points').append(button('Remove the last', () => edit({ do: 'point', picture: shown, remove: true })));
  renderPictures();
  renderLayers(now);
  renderSource();
}

function button(text, press) {
  const made = document.createElement('button');
  made.textContent = text;
  made.addEventListener('click', press);
  return made;
}

const thumbnails = new Map();

function renderPictures() {
  for (const id of thumbnails.keys()) if (!state.pictures.some(one => one.id === id)) thumbnails.delete(id);
  for (const one of state.pictures) {
    if (!thumbnails.has(one.id)) thumbnails.set(one.id, thumbnail(one));
    thumbnails.get(one.id).firstChild.setAttribute('aria-pressed', one.id === shown);
  }
  const items = [...thumbnails.values()];
  if (items.length !== $('pictures').children.length || items.some((item, i) => item !== $('pictures').children[i])) $('pictures').replaceChildren(...items);
}

function thumbnail(one) {
  const item = document.createElement('li'), pick = button('', () => update({ ...state, shown: one.id }));
  const image = document.createElement('img'), name = document.createElement('span');
  image.src = `api/pictures/${one.id}/small.jpg`;
  image.alt = '';
  name.textContent = pick.title = one.name;
  pick.append(image, name);
  item.append(pick);
  return item;
}

function renderLayers(now) {
  if ($('layers').contains(document.activeElement) && document.activeElement.type === 'text') return;
  const rows = [{ id: OBJECT, name: 'The object', colour: COLOUR }, ...state.parts].map(part => {
    const row = document.createElement('li'), area = document.createElement('small');
    const share = now && 100 * (now.layers[part.id]?.area ?? 0) / (now.width * now.height);
    area.textContent = share ? `${share.toFixed(1)} %` : 'not marked';
    row.setAttribute('aria-current', part.id === active);
    row.tabIndex = 0;
    const choose = () => { active = part.id; update(state); };
    row.addEventListener('click', choose);
    row.addEventListener('keydown', event => { if (event.target === row && event.key === 'Enter') choose(); });
    if (part.id === OBJECT) {
      const swatch = document.createElement('span'), name = document.createElement('b');
      swatch.className = 'swatch';
      swatch.style.background = COLOUR;
      name.textContent = part.name;
      row.append(swatch, name, area);
      return row;
    }
    const colour = document.createElement('input'), name = document.createElement('input');
    Object.assign(colour, { type: 'color', value: part.colour, ariaLabel: 'Colour' });
    Object.assign(name, { type: 'text', value: part.name, ariaLabel: 'Name of the part', maxLength: 40 });
    for (const input of [colour, name]) input.addEventListener('change', async () => {
      name.blur();
      await edit({ do: 'set part', part: part.id, name: name.value, colour: colour.value });
      if (shown !== null) await attempt(() => showMasks(shown));
    });
    row.append(colour, name, area);
    return row;
  });
  $('layers').replaceChildren(...rows);
}

function renderSource() {
  const { source } = state;
  $('source').hidden = !source;
  if (!source || $('source-name').textContent) return;
  $('source-name').textContent = source.name;
  $('frame').max = source.count - 1;
  $('frame').hidden = source.live || source.count < 2;
  $('take').textContent = source.live ? 'Take a picture' : 'Use this frame';
  preview();
}

async function preview() {
  const { source } = state, now = Number($('frame').value);
  if (source.live) {
    try {
      const { status } = await request('api/live');
      $('live-status').textContent = status;
      $('take').disabled = Boolean(status) && !$('preview').complete;
      await load(`api/frames/0/preview.jpg?${Date.now()}`);
    } catch { /* its status says why there is no picture */ }
    setTimeout(preview, document.hidden ? 2000 : 250);
  } else await load(`api/frames/${now}/preview.jpg`).catch(error => say(error.message));
}

async function load(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error((await answer.json()).error);
  const old = $('preview').src;
  $('preview').src = URL.createObjectURL(await answer.blob());
  if (old.startsWith('blob:')) URL.revokeObjectURL(old);
}

function open(files) {
  return attempt(async () => {
    say();
    for (const file of files) await update(await request('api/pictures', file, file.name));
  });
}

function tryFiles(files) {
  return attempt(async () => {
    say();
    trial.clear();
    for (const file of files)
      for (const found of (await request('api/try', file, file.name)).found) await trial.add(found);
    trial.section.scrollIntoView({ behavior: 'smooth', block: 'nearest' });
  });
}

// A live topic is looked through again and again until what is found is closed.
async function trySource() {
  const fits = await attempt(async () => {
    say();
    const { found } = await request('api/try/source', {});
    trial.clear();
    for (const one of found) await trial.add(one);
    trial.section.scrollIntoView({ behavior: 'smooth', block: 'nearest' });
    return true;
  });
  if (!fits || !state.source.live || watching) return;
  watching = true;
  while (!trial.section.hidden && trial.results.length === 1) {
    try { await trial.renew((await request('api/try/source', {})).found[0]); } catch { break; }
    await new Promise(done => setTimeout(done, document.hidden ? 2000 : 100));
  }
  watching = false;
}

async function check() {
  await attempt(async () => {
    say();
    const { weaknesses } = await request('api/weaknesses', {});
    const lines = weaknesses.flatMap(({ name, said }) => said.length ? said.map(text => [`${name}: ${text}`, '']) : [[`${name}: nothing weak was found.`, 'good']]);
    $('weak').replaceChildren(...lines.map(([text, kind]) => {
      const line = document.createElement('li');
      line.textContent = text;
      line.className = kind;
      return line;
    }));
  });
}

function ask(question) {
  const dialog = $('ask');
  dialog.querySelector('p').textContent = question;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

async function save() {
  await attempt(async () => {
    say();
    let found = await request('api/save', {});
    if (found.question) {
      if (!await ask(found.question)) return;
      found = await request('api/save', { overwrite: true });
    }
    await update(found);
    $('folder').textContent = found.folder;
    $('commands').textContent = found.commands.join('\n');
    $('done').showModal();
  });
}

function choose(tool) {
  view.tool = tool;
  for (const each of document.querySelectorAll('[data-tool]')) each.setAttribute('aria-pressed', each.dataset.tool === tool);
  $('hint').textContent = HINTS[tool];
  $('width').hidden = tool !== 'brush' && tool !== 'eraser';
  view.draw();
}

const layerEdit = kind => edit({ do: 'edit', picture: shown, layer: active, edit: { kind } });
const press = (id, work) => $(id).addEventListener('click', work);
for (const each of document.querySelectorAll('[data-tool]')) each.addEventListener('click', () => choose(each.dataset.tool));
for (const each of document.querySelectorAll('[data-open]')) each.addEventListener('click', () => $('file').click());
for (const [input, work] of [['file', open], ['try-file', tryFiles]])
  $(input).addEventListener('change', async () => { await work([...$(input).files]); $(input).value = ''; });
press('undo', () => layerEdit('undo'));
press('redo', () => layerEdit('redo'));
press('clear', () => layerEdit('clear'));
press('fit', () => view.fit());
press('cut', () => { view.cut = !view.cut; $('cut').setAttribute('aria-pressed', view.cut); view.draw(); });
press('save', save);
press('try', () => $('try-file').click());
press('try-source', trySource);
press('check', check);
press('take', () => edit({ do: 'take frame', index: state.source.live ? 0 : Number($('frame').value) }));
press('add-part', () => edit({ do: 'add part' }));
press('remove-part', async () => { if (await ask('Remove this part from all pictures?')) edit({ do: 'remove part', part: active }); });
press('remove', async () => { if (await ask(`Remove ${current().name} and its masks?`)) edit({ do: 'remove picture', picture: shown }); });
$('frame').addEventListener('input', () => { clearTimeout(preview.turn); preview.turn = setTimeout(preview, 60); });
$('width').querySelector('input').addEventListener('input', event => { view.radius = Number(event.target.value) / 2; view.draw(); });

for (const name of ['dragover', 'dragleave', 'drop']) window.addEventListener(name, event => {
  event.preventDefault();
  document.body.classList.toggle('drop', name === 'dragover');
  if (name === 'drop') (event.target.closest?.('aside, #trial') && shown !== null ? tryFiles : open)([...event.dataTransfer.files]);
});

window.addEventListener('keydown', event => {
  if (document.querySelector('dialog[open]') || /^(text|color)$/.test(event.target.type)) return;
  const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  const work = command ? { z: () => layerEdit(event.shiftKey ? 'redo' : 'undo'), y: () => layerEdit('redo'), s: save }[key]
    : { 1: () => choose('for'), 2: () => choose('against'), 3: () => choose('box'), 4: () => choose('brush'), 5: () => choose('eraser'), 6: () => choose('point'),
        '+': () => view.zoom(1.25), '=': () => view.zoom(1.25), '-': () => view.zoom(0.8), 0: () => view.fit(), v: () => $('cut').click() }[key];
  if (!work) return;
  event.preventDefault();
  if (shown !== null || !command) work();
});
window.addEventListener('keydown', event => { if (event.key === ' ' && event.target === $('canvas')) { view.space = true; event.preventDefault(); } });
window.addEventListener('keyup', event => { if (event.key === ' ') view.space = false; });
window.addEventListener('beforeunload', event => { if (state.pictures.length && !state.saved) event.preventDefault(); });

choose('for');
attempt(async () => update(await request('api/state')));
