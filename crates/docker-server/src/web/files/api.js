// The API behind the page: requests, and by websocket what goes on.

const KEY = 'dhow-key';

/** What went wrong; a status of 0 means that nobody answered. */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function sent(path, options) {
  try {
    return await fetch(path, { cache: 'no-store', ...options });
  } catch {
    throw new Failure(0, 'dhow does not answer');
  }
}

async function read(response) {
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = text;
  }
  if (!response.ok) throw new Failure(response.status, value?.message ?? `${response.status} ${response.statusText}`);
  return value;
}

/** Whether somebody has signed in with this browser; what is over is forgotten. */
export const known = () => localStorage.getItem(KEY) !== null;
export const forget = () => localStorage.removeItem(KEY);

/** Signs in with the token of the address that dhow printed. */
export async function signIn(token) {
  const session = await read(await sent('/session', { method: 'POST', body: token.trim() }));
  localStorage.setItem(KEY, session.key);
}

/** A request to the API. */
export async function ask(method, path, body) {
  const headers = { 'X-Dhow-Key': localStorage.getItem(KEY) ?? '' };
  return read(await sent(`/api${path}`, { method, headers, body: body && JSON.stringify(body) }));
}

export const get = (path) => ask('GET', path);

function socket(path) {
  const url = new URL(path, location.href);
  url.protocol = 'ws:';
  url.hash = '';
  const opened = new WebSocket(url, ['dhow', `dhow-key.${localStorage.getItem(KEY) || 'none'}`]);
  opened.binaryType = 'arraybuffer';
  return opened;
}

/** Opens a websocket: `opened` hears that the API has answered, `data` of bytes, `ended` once of its end, with why if there is more to say. */
export function open(path, { opened = () => {}, data, ended }) {
  const line = socket(path);
  let why = null;
  let left = false;
  line.onmessage = ({ data: told }) => {
    if (left) return;
    if (typeof told === 'string') {
      const { begun, status, message } = JSON.parse(told);
      if (begun) opened();
      else why = new Failure(status, message);
    } else data(new Uint8Array(told));
  };
  line.onclose = () => !left && ended(why);
  return {
    send: (bytes) => line.readyState === WebSocket.OPEN && line.send(bytes),
    close: () => {
      left = true;
      line.close();
    },
  };
}

/** Follows what comes as lines of JSON. */
export function follow(path, { opened, each, ended }) {
  const decoder = new TextDecoder();
  let rest = '';
  return open(`/stream${path}`, {
    opened,
    ended,
    data: (bytes) => {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = lines.pop();
      for (const line of lines) if (line.trim()) each(JSON.parse(line));
    },
  });
}
