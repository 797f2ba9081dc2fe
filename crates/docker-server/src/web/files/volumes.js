// Volumes, with their sizes and who uses them.

import { get } from './api.js';
import { el, Rows, say, table } from './dom.js';
import { ago, bytes, fits, nameOf } from './text.js';

const COLUMNS = ['Name', 'Driver', 'Created', '#Size', 'Used by', 'Place on the host'];

/** Milliseconds between two counts of sizes. */
const SELDOM = 30000;

function row() {
  const cells = COLUMNS.map(() => el('span'));
  const users = el('td');
  const node = el('tr', {}, el('th', { scope: 'row', class: 'clip' }, cells[0]), el('td', {}, cells[1]), el('td', {}, cells[2]), el('td', { class: 'number' }, cells[3]), users, el('td', { class: 'clip mono' }, cells[5]));
  let told = null;
  return {
    node,
    update: ({ volume, size, used }) => {
      say(cells[0], volume.Name);
      cells[0].title = volume.Name;
      say(cells[1], volume.Driver);
      say(cells[2], volume.CreatedAt ? ago(Date.parse(volume.CreatedAt) / 1000) : '–');
      say(cells[3], size === undefined ? '…' : bytes(size));
      say(cells[5], volume.Mountpoint);
      cells[5].title = volume.Mountpoint;
      const now = JSON.stringify(used.map((one) => [one.Id, nameOf(one)]));
      if (now === told) return;
      told = now;
      users.replaceChildren(...(used.length ? used.flatMap((one, at) => [at ? ', ' : '', el('a', { href: `#/containers/${one.Id}`, text: nameOf(one) })]) : ['nobody']));
    },
  };
}

export function volumes() {
  const { node, body } = table('Volumes', COLUMNS);
  const rows = new Rows(body, COLUMNS.length, row);
  const count = el('span', { class: 'dim' });
  let [all, there, search] = [[], [], ''];
  const sizes = new Map();
  let counted = -SELDOM;
  const show = () => {
    say(count, `${all.length}`);
    const found = all.filter((one) => fits([one.Name, one.Driver, one.Mountpoint, ...Object.entries(one.Labels ?? {}).flat()], search));
    const users = (name) => there.filter((one) => (one.Mounts ?? []).some((mount) => mount.Type === 'volume' && mount.Name === name));
    rows.show(found.map((volume) => ({ volume, size: sizes.get(volume.Name), used: users(volume.Name) })), ({ volume }) => volume.Name,
      all.length ? `None of ${all.length} volumes has “${search}”.` : 'There are no volumes. Make one: dhow volume create NAME');
  };
  return {
    node: [el('div', { class: 'head' }, el('h1', { text: 'Volumes' }), count), el('div', { class: 'wide' }, node)],
    ages: true,
    update: async () => {
      const [list, containers] = await Promise.all([get('/volumes'), get('/containers/json?all=1')]);
      [all, there] = [list.Volumes ?? [], containers];
      show();
      // Sizes are counted file by file, so they come later, and not each time that something changes.
      if (performance.now() - counted < SELDOM && all.every((one) => sizes.has(one.Name))) return;
      counted = performance.now();
      const usage = await get('/system/df?type=volume');
      for (const one of all) sizes.set(one.Name, undefined);
      for (const one of usage.Volumes ?? []) sizes.set(one.Name, one.UsageData?.Size);
      show();
    },
    search: (text) => {
      search = text;
      show();
    },
  };
}
