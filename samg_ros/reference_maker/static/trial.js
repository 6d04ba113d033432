// SPDX-License-Identifier: Apache-2.0
// What is found in other pictures: mask or similarity map, and the prompts.

import { picture } from './server.js';
import { sign, surface } from './canvas.js';

export class Trial {
  constructor(section, colour) {
    Object.assign(this, { section, colour, shown: 'mask', results: [] });
    this.grid = section.querySelector('#found');
    for (const radio of section.querySelectorAll('input[name=shown]'))
      radio.addEventListener('change', () => { this.shown = radio.value; this.results.forEach(one => this.paint(one)); });
    section.querySelector('#close-trial').addEventListener('click', () => { section.hidden = true; });
  }

  clear() {
    this.results = [];
    this.grid.replaceChildren();
  }

  async add(found) {
    const figure = document.createElement('figure'), canvas = document.createElement('canvas');
    const caption = document.createElement('figcaption'), result = { canvas, caption };
    await this.fill(result, found);
    figure.append(canvas, caption);
    this.grid.append(figure);
    this.results.push(result);
    this.section.hidden = false;
  }

  // Shows a new picture in the place of the first one.
  async renew(found) {
    if (this.results.length) await this.fill(this.results[0], found);
  }

  async fill(result, found) {
    const [image, mask, similarity] = await Promise.all([found.picture, found.mask, found.similarity].map(picture));
    Object.assign(result, found, { image, mask, similarity });
    result.caption.textContent = found.share ? `${found.name}: ${(100 * found.share).toFixed(1)} % of the picture`
      : `${found.name}: nothing found`;
    this.paint(result);
  }

  paint({ canvas, image, mask, similarity, prompts }) {
    canvas.width = image.width;
    canvas.height = image.height;
    const pen = canvas.getContext('2d');
    pen.drawImage(this.shown === 'mask' ? image : similarity, 0, 0);
    if (this.shown === 'mask') {
      const dark = surface(image);
      dark.fillStyle = 'rgb(0 0 0 / .72)';
      dark.fillRect(0, 0, image.width, image.height);
      dark.globalCompositeOperation = 'destination-out';
      dark.drawImage(mask, 0, 0);
      pen.drawImage(dark.canvas, 0, 0);
    }
    for (const [x, y, label] of prompts) sign(pen, x + .5, y + .5, image.width / 320, label ? '#009e73' : '#d02f1f', Boolean(label));
  }
}
