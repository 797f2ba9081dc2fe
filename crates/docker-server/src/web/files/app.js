// The page: who is signed in, which section is shown, keys, and whether the service is there.

import { Failure, follow, forget, get, known, signIn } from './api.js';
import { ask, button, el, say } from './dom.js';
import { container } from './container.js';
import { containers } from './containers.js';
import { disk } from './disk.js';
import { events } from './events.js';
import { images } from './images.js';
import { networks } from './networks.js';
import { volumes } from './volumes.js';

const SECTIONS = [
  { path: 'containers', name: 'Containers', show: (rest) => (rest.length ? container(...rest) : containers()) },
  { path: 'images', name: 'Images', show: (rest) => images(...rest) },
  { path: 'networks', name: 'Networks', show: networks },
  { path: 'volumes', name: 'Volumes', show: volumes },
  { path: 'disk', name: 'Disk', show: disk },
  { path: 'events', name: 'Events', show: () => events(journal) },
];

const KEYS = [
  ['1 – 6', 'go to a section'], ['/', 'search'], ['Tab, Enter', 'move, and do'], ['Esc', 'close, clear the search, or go back'],
  ['Ctrl-Shift-↑', 'leave the terminal for the rest of the page'], ['t', 'light or dark'], ['?', 'this list'],
];

/** Events that are kept, and how far back they are asked for, in seconds. */
const EVENTS = 1000;
const PAST = 3600;
/** Milliseconds: until a lost service is asked again, at first and at most, for which changes are gathered before the page asks what is new, and after which ages that are shown are old. */
const [AGAIN, SELDOM] = [1000, 30000];
const GATHER = 120;
const OLD = 15000;
/** A service that is started again takes no session of the one before it: meanwhile anybody may have been at its port. */
const OVER = 'This session is over. If dhow was started again it has a new address.';

const place = (id) => document.getElementById(id);
const [main, search, notice, refused, state] = ['main', 'search', 'notice', 'refused', 'state'].map(place);
const journal = { list: [], heard: null };
let view = null;
let shown = null;
let line = null;
let waiting = null;
/** How long the next wait is. */
let [pause, retry] = [AGAIN, null];

function status(word, text) {
  state.dataset.state = word;
  say(state, text);
}

/** What went wrong, in one line at the top, until it is over; what somebody wanted to be done has a line of its own. */
function tell(error, line = notice) {
  say(line, error ? error.message : '');
  line.hidden = !error;
}

function leave() {
  view?.close?.();
  view = null;
}

function route() {
  const [path, ...rest] = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  const section = SECTIONS.find((one) => one.path === path) ?? SECTIONS[0];
  return { section, rest };
}

function go() {
  const { section, rest } = route();
  const active = document.activeElement;
  const held = shown && (active === document.body || main.contains(active));
  leave();
  tell(null);
  tell(null, refused);
  search.value = '';
  for (const link of place('sections').children) {
    if (link.dataset.path === section.path) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${section.name} · dhow`;
  view = section.show(rest);
  shown = section.path;
  main.replaceChildren(...[view.node].flat());
  // Who has been in the section before goes on in this one; whoever is elsewhere on the page stays there.
  if (held) onward(main.querySelector('h1') ?? main);
  update();
}

function onward(heading) {
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** Asks again for what is shown: one at a time of each view, however much changes meanwhile. */
async function update() {
  const asked = view;
  if (!asked) return;
  asked.due = true;
  if (asked.busy) return;
  asked.busy = true;
  try {
    while (asked.due && asked === view) {
      asked.due = false;
      await refresh(asked);
    }
  } finally {
    asked.busy = false;
  }
}

async function refresh(asked) {
  try {
    await asked.update?.();
    if (asked === view) tell(null);
  } catch (error) {
    if (asked === view) failed(error);
  }
}

function failed(error, line = notice) {
  if (!(error instanceof Failure)) throw error;
  if (error.status === 401) signedOut();
  else tell(error, line);
}

/** Something has changed: what is shown is asked for again, once for all that comes at a time. */
function changed() {
  waiting ??= setTimeout(() => {
    waiting = null;
    update();
  }, GATHER);
}

/** Follows the events: they tell what changes, and that the service is there. */
function listen() {
  line?.close();
  let seen = journal.list.at(-1)?.timeNano ?? 0;
  const begun = Date.now();
  line = follow(`/events?since=${seen ? Math.floor(seen / 1e9) : Math.floor(Date.now() / 1000) - PAST}`, {
    opened: () => {
      status('up', 'live');
      update();
    },
    each: (event) => {
      if (event.timeNano <= seen && journal.list.some((one) => one.timeNano === event.timeNano && one.Action === event.Action && one.Actor.ID === event.Actor.ID)) return;
      journal.list.push(event);
      if (journal.list.length > EVENTS) journal.list.shift();
      journal.heard?.(event);
      if (!event.Action.startsWith('exec_')) changed();
    },
    ended: (why) => {
      // One that ends at once is not asked at once.
      if (Date.now() - begun > SELDOM) pause = AGAIN;
      lost(why);
    },
  });
}

/** The service has gone, or says no: it is asked until it is there, more and more seldom if it is there and tells no events. */
async function lost(why) {
  try {
    await get('/_ping');
  } catch (error) {
    if (error.status === 401) return signedOut();
    status('down', 'no connection');
    tell(new Failure(error.status, `${error.message}: trying again`));
    setTimeout(lost, AGAIN, why);
    return;
  }
  status('down', 'no events');
  if (why) tell(new Failure(why.status, `${why.message}: trying again`));
  clearTimeout(retry);
  retry = setTimeout(() => shown && listen(), pause);
  pause = Math.min(2 * pause, SELDOM);
}

function signedOut(error) {
  const why = el('p', { class: 'error', role: 'alert', text: error?.message ?? (known() ? OVER : '') });
  forget();
  line?.close();
  tell(null);
  tell(null, refused);
  leave();
  shown = null;
  status('down', 'signed out');
  const token = el('input', { type: 'password', id: 'token', autocomplete: 'off', required: true, spellcheck: 'false' });
  const enter = async (event) => {
    event.preventDefault();
    try {
      await signIn(token.value.replace(/^.*#token=/, ''));
      begin();
    } catch (refused) {
      say(why, refused.message);
      token.select();
    }
  };
  main.replaceChildren(el('form', { class: 'sign-in', onsubmit: enter },
    el('h1', { text: 'Sign in' }),
    el('p', { text: 'Open the address that “dhow ui” prints, or the one in the file ui.address that the service’s log names; or put it or its token here. Each has a new one when it is started.' }),
    el('label', { for: 'token', text: 'Address or token' }), token,
    el('button', { type: 'submit', text: 'Sign in', class: 'primary' }), why));
  token.focus();
}

function theme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === 'dark'
    || (getComputedStyle(document.documentElement).colorScheme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  const next = dark ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  localStorage.setItem('dhow-theme', next);
  document.dispatchEvent(new Event('theme'));
}

function help() {
  const rows = KEYS.map(([keys, what]) => el('tr', {}, el('th', { scope: 'row' }, el('kbd', { text: keys })), el('td', { text: what })));
  ask('Keys', [el('table', { class: 'keys' }, el('tbody', {}, ...rows))], [{ text: 'Close' }]);
}

function key(event) {
  const typing = event.target.closest?.('input, textarea, .shell');
  if (event.key === 'Escape' && event.target === search) {
    if (search.value) {
      search.value = '';
      view?.search?.('');
    } else search.blur();
    return;
  }
  if (typing || event.ctrlKey || event.altKey || event.metaKey || place('dialog').open) return;
  const section = SECTIONS[Number(event.key) - 1];
  if (section) location.hash = `#/${section.path}`;
  else if (event.key === '/') search.focus();
  else if (event.key === 't') theme();
  else if (event.key === '?') help();
  else if (event.key === 'Escape' && route().rest.length) location.hash = `#/${shown}`;
  else return;
  event.preventDefault();
}

function begin() {
  listen();
  go();
}

async function start() {
  const chosen = localStorage.getItem('dhow-theme');
  if (chosen) document.documentElement.dataset.theme = chosen;
  place('sections').append(...SECTIONS.map(({ path, name }, at) =>
    el('a', { href: `#/${path}`, 'data-path': path, 'aria-keyshortcuts': `${at + 1}` }, el('kbd', { text: `${at + 1}`, 'aria-hidden': 'true' }), name)));
  place('theme').addEventListener('click', theme);
  place('help').addEventListener('click', help);
  // A hash is a section here, so the link has no way of its own.
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  search.addEventListener('input', () => view?.search?.(search.value));
  document.addEventListener('keydown', key);
  document.addEventListener('failed', ({ detail }) => {
    // It is told until something works, or another section is shown.
    if (detail) failed(detail, refused);
    else tell(null, refused);
  });
  addEventListener('hashchange', () => (location.hash.startsWith('#token=') ? enter() : shown && go()));
  setInterval(() => view?.ages && !document.hidden && state.dataset.state === 'up' && update(), OLD);
  await enter();
}

/** With the token of the address, if there is one; it does not stay there. */
async function enter() {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) history.replaceState(null, '', '/#/containers');
  try {
    if (token) await signIn(token);
    await get('/_ping');
  } catch (error) {
    if (error.status === 401 || error.status === 403) return signedOut(token ? error : null);
  }
  begin();
}

start();
