// What is kept on the disk, of which kind, and what nobody uses.

import { get } from './api.js';
import { el, table } from './dom.js';
import { bytes, percent } from './text.js';

const COLUMNS = ['Kind', '#Count', '#In use', '#Size', '#Nobody uses', 'Share'];

/** Milliseconds between two counts: each reads what is there file by file. */
const SELDOM = 30000;

const sum = (list, size) => list.reduce((all, one) => all + Math.max(0, size(one) || 0), 0);

/** Of each kind: how many, how many of them are used, their size, and what of it would be free without the others. */
function kinds(usage) {
  const [images, containers, volumes, cache] = ['Images', 'Containers', 'Volumes', 'BuildCache'].map((name) => usage[name] ?? []);
  const total = usage.LayersSize ?? sum(images, (one) => one.Size);
  const used = sum(images.filter((one) => one.Containers > 0), (one) => one.Size - Math.max(0, one.SharedSize));
  const idle = containers.filter((one) => !['running', 'paused', 'restarting'].includes(one.State));
  const free = volumes.filter((one) => !one.UsageData?.RefCount);
  return [
    ['Images', 'images', images.length, images.filter((one) => one.Containers > 0).length, total, Math.max(0, total - used)],
    ['Containers', 'containers', containers.length, containers.length - idle.length, sum(containers, (one) => one.SizeRw), sum(idle, (one) => one.SizeRw)],
    ['Volumes', 'volumes', volumes.length, volumes.length - free.length, sum(volumes, (one) => one.UsageData?.Size), sum(free, (one) => one.UsageData?.Size)],
    ['Build cache', null, cache.length, cache.filter((one) => one.InUse).length, sum(cache, (one) => one.Size), sum(cache.filter((one) => !one.InUse), (one) => one.Size)],
  ];
}

export function disk() {
  const { node, body } = table('Disk use', COLUMNS);
  let counted = -SELDOM;
  const total = el('span', { class: 'dim', text: 'counting' });
  return {
    node: [el('div', { class: 'head' }, el('h1', { text: 'Disk' }), total), el('div', { class: 'wide' }, node),
      el('p', { class: 'dim', text: 'What nobody uses goes with dhow system prune.' })],
    ages: true,
    update: async () => {
      if (performance.now() - counted < SELDOM) return;
      counted = performance.now();
      const found = kinds(await get('/system/df'));
      const all = found.reduce((count, [, , , , size]) => count + size, 0);
      total.textContent = `${bytes(all)} in all`;
      body.replaceChildren(...found.map(([name, path, count, used, size, free]) => el('tr', {},
        el('th', { scope: 'row' }, path ? el('a', { href: `#/${path}`, text: name }) : name),
        el('td', { class: 'number', text: `${count}` }), el('td', { class: 'number', text: `${used}` }), el('td', { class: 'number', text: bytes(size) }),
        el('td', { class: 'number', text: bytes(free) }),
        el('td', { class: 'share' }, el('meter', { min: 0, max: Math.max(1, all), value: size, 'aria-label': `${percent((size / Math.max(1, all)) * 100)} of all` }), el('span', { class: 'dim', text: percent((size / Math.max(1, all)) * 100) })))));
    },
  };
}
