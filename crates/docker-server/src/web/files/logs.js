// A container's output as it comes, and what of it has a word in it.

import { open } from './api.js';
import { el, say } from './dom.js';
import { clock, fits, plain } from './text.js';

/** Lines that the page keeps; and how many of the past it asks for. */
const KEPT = 5000;
const PAST = 1000;
/** The head of a piece of one of the two streams: which, and how long it is. */
const HEAD = 8;
const SPACE = 32;
/** Milliseconds for which lines are gathered before they are drawn. */
const GATHER = 100;
/** The longest line that is shown whole, in characters. */
const LONGEST = 16384;

/** Takes pieces of output apart: of a container without a terminal each has a head that names its stream. */
class Output {
  constructor(framed, seen, each) {
    Object.assign(this, { framed, seen, each });
    this.full = [false, false, false];
    this.bytes = new Uint8Array(0);
    this.rest = ['', '', ''];
    this.decoders = [0, 1, 2].map(() => new TextDecoder());
  }

  take(more) {
    if (!this.framed) return this.text(1, more);
    const all = new Uint8Array(this.bytes.length + more.length);
    all.set(this.bytes);
    all.set(more, this.bytes.length);
    let at = 0;
    while (all.length - at >= HEAD) {
      const length = new DataView(all.buffer, at).getUint32(4);
      if (all.length - at < HEAD + length) break;
      this.piece(Math.min(all[at], 2), all.subarray(at + HEAD, at + HEAD + length));
      at += HEAD + length;
    }
    this.bytes = all.slice(at);
  }

  /** A piece is a line, or a part of a long one, or what a run wrote last without an end of line. Each has its time. */
  piece(stream, bytes) {
    const gap = bytes.indexOf(SPACE);
    const stamp = new TextDecoder().decode(bytes.subarray(0, Math.max(0, gap)));
    if (Date.parse(stamp) && stamp <= this.seen) return;
    if (this.full[stream]) return this.text(stream, bytes.subarray(gap + 1));
    if (this.rest[stream]) this.end(stream);
    this.text(stream, bytes);
  }

  text(stream, bytes) {
    const lines = (this.rest[stream] + this.decoders[stream].decode(bytes, { stream: true })).split('\n');
    // One more than is shown tells that there is more.
    this.rest[stream] = lines.pop().slice(0, LONGEST + 1);
    this.full[stream] = bytes.length >= LONGEST && this.rest[stream] !== '';
    for (const line of lines) this.line(stream, line);
  }

  line(stream, line) {
    this.each(stream, line.length > LONGEST ? `${line.slice(0, LONGEST)} …` : line);
  }

  /** What has no end of line. */
  end(stream) {
    if (this.rest[stream]) this.line(stream, this.rest[stream]);
    this.rest[stream] = '';
  }
}

/** The text with what is sought marked in it. */
function marked(text, search) {
  if (!search) return [text];
  const [parts, low, sought] = [[], text.toLowerCase(), search.toLowerCase()];
  let at = 0;
  for (let found = low.indexOf(sought); found >= 0; found = low.indexOf(sought, at)) {
    parts.push(text.slice(at, found), el('mark', { text: text.slice(found, found + search.length) }));
    at = found + search.length;
  }
  return [...parts, text.slice(at)];
}

export function logs(id) {
  const box = el('div', { class: 'log', role: 'log', tabindex: '0', 'aria-label': 'Log' });
  const count = el('span', { class: 'dim' });
  const [follow, times, wrap] = [['Follow', true], ['Times', false], ['Wrap', true]].map(([name, on]) => {
    const input = el('input', { type: 'checkbox', checked: on });
    return { input, node: el('label', { class: 'check' }, input, name) };
  });
  const bar = el('div', { class: 'bar' }, follow.node, times.node, wrap.node, count);
  let [kept, fresh, dropped, search, line, state, due] = [[], [], 0, '', null, '', false];
  /** The newest time of a line, as it was written, and the run that was followed. */
  let [newest, run] = ['', null];

  const node = ({ stream, at, text }) => el('div', { class: stream === 2 ? 'stderr' : null },
    el('time', { text: at ? `${clock(at / 1000)} ` : '' }), ...marked(text, search.trim()));
  const told = () => {
    const found = box.childElementCount;
    const words = [search.trim() ? `${found} of ${kept.length} lines have “${search.trim()}”` : `${kept.length} lines`];
    if (dropped) words.push(`the ${dropped} before are not kept`);
    if (state) words.push(state);
    say(count, words.join(' · '));
  };
  const draw = () => {
    due = false;
    const shown = fresh.filter((one) => fits([one.text], search));
    box.append(...shown.map((one) => (one.node = node(one))));
    kept.push(...fresh);
    fresh = [];
    for (const old of kept.splice(0, Math.max(0, kept.length - KEPT))) {
      old.node?.remove();
      dropped += 1;
    }
    told();
    if (follow.input.checked) box.scrollTop = box.scrollHeight;
  };
  const soon = () => {
    if (!due) setTimeout(draw, GATHER);
    due = true;
  };
  const again = () => {
    [kept, fresh] = [[], [...kept, ...fresh]];
    box.replaceChildren();
    soon();
  };
  const look = () => {
    box.classList.toggle('times', times.input.checked);
    box.classList.toggle('wrap', wrap.input.checked);
  };
  for (const { input } of [times, wrap]) input.addEventListener('change', look);
  follow.input.addEventListener('change', soon);
  // Lines that come meanwhile do not hold who turns away from the end.
  box.addEventListener('wheel', ({ deltaY }) => {
    if (deltaY < 0) follow.input.checked = false;
  }, { passive: true });
  box.addEventListener('scroll', () => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
    if (!atEnd && follow.input.checked && !due) follow.input.checked = false;
  });
  look();

  const begin = (framed) => {
    const seen = newest;
    const output = new Output(framed, seen, (stream, text) => {
      const at = text.indexOf(' ');
      const stamp = text.slice(0, at);
      const time = Date.parse(stamp) || null;
      // The line of the time that is asked from comes again.
      if (time && stamp <= seen) return;
      if (time && stamp > newest) newest = stamp;
      fresh.push({ stream, at: time, text: plain(text.slice(at + 1)) });
      // What comes faster than it is drawn is bounded as well.
      if (fresh.length > 2 * KEPT) dropped += fresh.splice(0, fresh.length - KEPT).length;
      soon();
    });
    const since = seen ? `since=${Math.floor(Date.parse(seen) / 1000)}.${/\.(\d+)/.exec(seen)?.[1] ?? 0}` : `tail=${PAST}`;
    line = open(`/stream/containers/${id}/logs?follow=1&stdout=1&stderr=1&timestamps=1&${since}`, {
      data: (bytes) => output.take(bytes),
      ended: (why) => {
        line = null;
        [1, 2].forEach((stream) => output.end(stream));
        state = why ? why.message : 'ended';
        told();
      },
    });
    state = '';
  };
  return {
    node: [bar, box],
    update: async (found) => {
      // One that was started again goes on, also if that run is over by now.
      const now = `${found.State.StartedAt} ${found.State.FinishedAt}`;
      if (!line && (found.State.Running || now !== run)) {
        run = now;
        begin(!found.Config.Tty);
      }
      told();
    },
    search: (text) => {
      search = text;
      again();
    },
    close: () => line?.close(),
  };
}
