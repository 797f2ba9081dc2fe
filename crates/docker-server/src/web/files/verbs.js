// What is done to a container, after a question where nothing brings it back.

import { ask as request } from './api.js';
import { ask, button, el } from './dom.js';

async function post(path, method = 'POST') {
  try {
    await request(method, path);
    document.dispatchEvent(new CustomEvent('failed', { detail: null }));
    return true;
  } catch (error) {
    document.dispatchEvent(new CustomEvent('failed', { detail: error }));
    return false;
  }
}

async function remove(id, name, runs, after) {
  const question = runs
    ? 'It runs. It is killed, and what it has written to its own files is lost.'
    : 'What it has written to its own files is lost.';
  const answer = await ask(`Remove ${name}?`, [el('p', { text: `${question} Its volumes stay.` })],
    [{ text: 'Cancel' }, { text: 'Remove', danger: true }]);
  if (answer === 'Remove' && (await post(`/containers/${id}?force=${runs ? 1 : 0}`, 'DELETE'))) after?.();
}

/** The buttons for a container; `show` sets which of them are of use. */
export function verbs(id, after) {
  let [name, runs] = ['', false];
  const does = (path) => async (event) => {
    const pressed = event.currentTarget;
    pressed.disabled = true;
    await post(path);
    pressed.disabled = false;
  };
  const start = button('Start', 'Start', does(`/containers/${id}/start`));
  const stop = button('Stop', 'Stop', does(`/containers/${id}/stop`));
  const restart = button('Restart', 'Restart', does(`/containers/${id}/restart`));
  const gone = button('Remove', 'Remove', () => remove(id, name, runs, after), { class: 'danger' });
  const all = [[start, 'Start'], [stop, 'Stop'], [restart, 'Restart'], [gone, 'Remove']];
  return {
    node: el('div', { class: 'verbs' }, start, stop, restart, gone),
    show: (called, running) => {
      [name, runs] = [called, running];
      start.hidden = running;
      stop.hidden = !running;
      restart.hidden = !running;
      for (const [node, verb] of all) node.setAttribute('aria-label', `${verb} ${name}`);
    },
  };
}
