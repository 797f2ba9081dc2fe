// A shell in a container, in a terminal (xterm.js).

import { ask, open } from './api.js';
import { button, el, say } from './dom.js';

const COLOURS = {
  dark: { background: '#0d1117', foreground: '#e6edf3', cursor: '#e6edf3', selectionBackground: '#264f78' },
  light: {
    background: '#ffffff', foreground: '#1f2328', cursor: '#1f2328', selectionBackground: '#b6d7ff', cursorAccent: '#ffffff',
    yellow: '#7d4e00', brightYellow: '#633c01', white: '#57606a', brightWhite: '#1f2328', green: '#116329', brightGreen: '#1a7f37', cyan: '#1b7c83', brightCyan: '#3192aa',
  },
};

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
};

/** The longest message that is sent, in bytes: a page that pastes more does it in pieces. */
const PIECE = 32 * 1024;
/** Bytes that are there and not drawn: so many are enough, and so few ask for more. */
const [MUCH, FEW] = [512 * 1024, 64 * 1024];

/** xterm.js is a classic script. */
let loading = null;
const loaded = () => (loading ??= new Promise((resolve, reject) => {
  document.head.append(el('script', { src: '/xterm.js', onload: () => resolve(globalThis.Terminal), onerror: reject }));
}));

/** An element that stands for a style element: the page's policy has no inline styles, and a sheet made here is none. */
function sheet() {
  const rules = new CSSStyleSheet();
  const node = document.createElement('span');
  node.hidden = true;
  Object.defineProperty(node, 'textContent', { set: (text) => rules.replaceSync(text), get: () => '' });
  node.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== rules);
    Element.prototype.remove.call(node);
  };
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, rules];
  return node;
}

/** The document as xterm.js may see it: its styles are made in ways that the page's policy allows. */
function allowed() {
  const create = (name, options) => {
    if (name === 'style') return sheet();
    const node = document.createElement(name, options);
    node.setAttribute = (attribute, value) => {
      if (attribute === 'style') node.style.cssText = value;
      else Element.prototype.setAttribute.call(node, attribute, value);
    };
    return node;
  };
  return new Proxy(document, {
    get: (target, name) => {
      if (name === 'createElement') return create;
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

export function terminal(id) {
  const box = el('div', { class: 'shell', 'aria-label': 'Terminal' });
  const told = el('span', { class: 'dim', role: 'status' });
  const again = button('New shell', 'Start a new shell', () => begin(), { hidden: true });
  const bar = el('div', { class: 'bar' }, again, told, el('span', { class: 'dim', text: 'Ctrl-Shift-↑ leaves the terminal for the rest of the page' }));
  let [screen, line, exec, begun, closed] = [null, null, null, false, false];
  let [undrawn, stopped] = [0, false];

  const colours = () => screen && (screen.options.theme = COLOURS[isDark() ? 'dark' : 'light']);
  /** As many columns and rows as there is room for. */
  const fit = () => {
    const cells = screen?.element?.querySelector('.xterm-screen');
    if (!cells || !cells.clientWidth) return;
    const [wide, high] = [cells.clientWidth / screen.cols, cells.clientHeight / screen.rows];
    const [cols, rows] = [Math.floor((box.clientWidth - 24) / wide), Math.floor((box.clientHeight - 12) / high)];
    if (cols > 1 && rows > 1 && (cols !== screen.cols || rows !== screen.rows)) screen.resize(cols, rows);
  };
  const resized = ({ cols, rows }) => {
    // One that has ended has no size.
    if (line) ask('POST', `/exec/${exec}/resize?h=${rows}&w=${cols}`).catch(() => {});
  };
  const ended = async (why) => {
    line = null;
    again.hidden = false;
    const code = why ? null : await ask('GET', `/exec/${exec}/json`).then((one) => one.ExitCode, () => null);
    say(told, why ? why.message : code === null ? 'ended' : `ended with ${code}`);
  };
  /** A browser takes all that comes, faster than it is drawn: who says too much waits. */
  const draw = (bytes) => {
    undrawn += bytes.length;
    if (!stopped && undrawn > MUCH) {
      stopped = true;
      line?.send('stop');
    }
    screen.write(bytes, () => {
      undrawn -= bytes.length;
      if (stopped && undrawn < FEW) {
        stopped = false;
        line?.send('go');
      }
    });
  };
  const make = async () => {
    const Terminal = await loaded();
    if (closed) return;
    screen = new Terminal({
      documentOverride: allowed(), fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace', fontSize: 13, scrollback: 5000,
      cursorBlink: false, screenReaderMode: true,
    });
    const encoder = new TextEncoder();
    const type = (bytes) => {
      for (let at = 0; at < bytes.length; at += PIECE) line?.send(bytes.subarray(at, at + PIECE));
    };
    screen.onData((text) => type(encoder.encode(text)));
    screen.onBinary((text) => type(Uint8Array.from(text, (one) => one.charCodeAt(0))));
    screen.onResize(resized);
    // Tab is the shell's, so another key leads out.
    screen.attachCustomKeyEventHandler((event) => {
      if (!(event.ctrlKey && event.shiftKey && event.code === 'ArrowUp')) return true;
      event.preventDefault();
      document.querySelector('.tabs [aria-current]')?.focus();
      return false;
    });
    screen.open(box);
    colours();
    fit();
  };
  const begin = async () => {
    begun = true;
    again.hidden = true;
    say(told, 'starting');
    try {
      if (!screen) await make();
      if (closed) return;
      screen.reset();
      stopped = false;
      // Which one it is is not the page's to say.
      exec = (await ask('POST', `/containers/${id}/exec`)).Id;
      if (closed) return;
      line = open(`/terminal/${exec}?h=${screen.rows}&w=${screen.cols}`, {
        opened: () => say(told, 'connected'), data: draw, ended,
      });
      screen.focus();
    } catch (error) {
      again.hidden = false;
      say(told, error.message ?? 'the terminal cannot be loaded');
    }
  };
  const watch = new ResizeObserver(fit);
  watch.observe(box);
  document.addEventListener('theme', colours);
  return {
    node: [bar, box],
    // A shell is begun by hand: a link on somebody else's page may lead here.
    update: (found) => {
      if (begun) return;
      again.hidden = !found.State.Running;
      say(told, found.State.Running ? '' : 'It does not run: start it for a shell in it.');
    },
    close: () => {
      closed = true;
      watch.disconnect();
      document.removeEventListener('theme', colours);
      line?.close();
      screen?.dispose();
    },
  };
}
