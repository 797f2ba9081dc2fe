// Figures and names as people read them.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

export function bytes(count) {
  if (!Number.isFinite(count) || count < 0) return '–';
  let unit = 0;
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
}

export const percent = (share) => (Number.isFinite(share) ? `${share < 10 ? share.toFixed(1) : Math.round(share)} %` : '–');

const SPANS = [[86400 * 365, 'y'], [86400 * 30, 'mo'], [86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

/** How long ago a moment is, in seconds since 1970. */
export function ago(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  const [size, name] = SPANS.find(([size]) => past >= size) ?? [1, 's'];
  return `${Math.floor(past / size)} ${name} ago`;
}

// Made once: to make one takes longer than all else of a line of a log.
const CLOCK = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

export const clock = (seconds) => CLOCK.format(seconds * 1000);

export const shortId = (id) => id.replace(/^sha256:/, '').slice(0, 12);

export const nameOf = (container) => (container.Names?.[0] ?? '').replace(/^\//, '') || shortId(container.Id);

export function ports(list) {
  const one = (port) => (port.PublicPort ? `${port.PublicPort}→${port.PrivatePort}` : `${port.PrivatePort}`) + (port.Type === 'tcp' ? '' : `/${port.Type}`);
  return [...new Set((list ?? []).map(one))].join(', ');
}

export const fits = (words, search) => {
  const sought = search.trim().toLowerCase();
  return !sought || words.some((word) => String(word ?? '').toLowerCase().includes(sought));
};

/** What escapes of a terminal are in a line of text says nothing there. */
export const plain = (line) => line.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)/g, '').replace(/\r/g, '');
