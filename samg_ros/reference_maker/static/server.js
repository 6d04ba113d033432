// SPDX-License-Identifier: Apache-2.0
// Requests to the samg command. Changes go one after the other, each with the revision it is about.

export class ServerError extends Error {}

let queue = Promise.resolve(), revision = 0;

export async function request(path, body, name) {
  const isFile = body instanceof Blob;
  const where = name === undefined ? path : `${path}?name=${encodeURIComponent(name)}`;
  let answer;
  try {
    answer = await fetch(where, body === undefined ? {} : {
      method: 'POST', headers: { 'X-Samg': '1' }, body: isFile ? body : JSON.stringify(body) });
  } catch {
    throw new ServerError('The samg command does not answer. If it has ended, start it again; ' +
      'what was saved is still there.');
  }
  const text = await answer.text();
  let found;
  try { found = JSON.parse(text); } catch { throw new ServerError(text.slice(0, 200)); }
  if (!answer.ok) {
    const error = new ServerError(found.error ?? `The samg command answered ${answer.status}.`);
    error.state = found.state;
    throw error;
  }
  return found;
}

// Sends a change when all before it are answered, with the newest revision of the document.
export function change(what) {
  const turn = queue.then(async () => {
    try {
      const found = await request('api/change', { ...what, revision });
      revision = found.revision;
      return found;
    } catch (error) {
      if (error.state) revision = error.state.revision;
      throw error;
    }
  });
  queue = turn.catch(() => {});
  return turn;
}

// Says which revision the page shows, where it learned so from another answer.
export function shows(number) {
  revision = Math.max(revision, number);
}

export function picture(url) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new ServerError('The picture could not be shown.'));
    image.src = url;
  });
}
