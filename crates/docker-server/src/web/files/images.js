// Images, and the layers of one.

import { get } from './api.js';
import { el, Rows, say, table } from './dom.js';
import { ago, bytes, fits, shortId } from './text.js';

const COLUMNS = ['Name', 'Id', 'Created', '#Size', '#Containers'];
const LAYERS = ['#Layer', 'Made by', 'Created', '#Size', 'Share'];

const names = (image) => (image.RepoTags ?? []).filter((name) => name !== '<none>:<none>');

function row(first) {
  const link = el('a', { href: `#/images/${first.Id}` });
  const [id, created, size, used] = ['', '', '', ''].map(() => el('span'));
  const node = el('tr', {}, el('th', { scope: 'row' }, link), el('td', { class: 'mono' }, id), el('td', {}, created),
    el('td', { class: 'number' }, size), el('td', { class: 'number' }, used));
  return {
    node,
    update: (image) => {
      say(link, names(image).join(', ') || 'no name');
      say(id, shortId(image.Id));
      say(created, ago(image.Created));
      say(size, bytes(image.Size));
      say(used, image.Containers < 0 ? '–' : `${image.Containers}`);
    },
  };
}

function list() {
  const { node, body } = table('Images', COLUMNS);
  const rows = new Rows(body, COLUMNS.length, row);
  const count = el('span', { class: 'dim' });
  let [all, search] = [[], ''];
  const show = () => {
    say(count, `${all.length}, ${bytes(all.reduce((sum, one) => sum + one.Size, 0))}`);
    rows.show(all.filter((one) => fits([...names(one), one.Id], search)), (one) => one.Id,
      all.length ? `None of ${all.length} images has “${search}”.` : 'There are no images. Get one: dhow pull NAME');
  };
  return {
    node: [el('div', { class: 'head' }, el('h1', { text: 'Images' }), count), el('div', { class: 'wide' }, node)],
    update: async () => {
      all = await get('/images/json');
      show();
    },
    search: (text) => {
      search = text;
      show();
    },
  };
}

/** What a step of a recipe was, without the words that every one has. */
const step = (text) => text.replace(/^\/bin\/sh -c #\(nop\)\s*/, '').replace(/^\/bin\/sh -c /, 'RUN ');

function layers(id) {
  const { node, body } = table('Layers', LAYERS);
  const title = el('h1', { text: shortId(id) });
  const facts = el('dl');
  return {
    node: [
      el('div', { class: 'head' }, el('a', { href: '#/images', class: 'back', 'aria-label': 'Back to all images', text: '←' }), title),
      facts, el('h2', { text: 'Layers, the last one first' }), el('div', { class: 'wide' }, node),
    ],
    update: async () => {
      const [found, history] = await Promise.all([get(`/images/${id}/json`), get(`/images/${id}/history`)]);
      say(title, names(found).join(', ') || shortId(id));
      const config = found.Config ?? {};
      const told = [
        ['Id', found.Id], ['Platform', `${found.Os}/${found.Architecture}${found.Variant ? `/${found.Variant}` : ''}`], ['Size', bytes(found.Size)],
        ['Command', [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])].join(' ') || '–'], ['User', config.User || 'root'],
        ['Layers', `${found.RootFS?.Layers?.length ?? 0}`],
      ];
      facts.replaceChildren(...told.flatMap(([name, text]) => [el('dt', { text: name }), el('dd', { text })]));
      const most = Math.max(1, ...history.map((one) => one.Size));
      body.replaceChildren(...history.map((one, at) => el('tr', {},
        el('td', { class: 'number', text: `${history.length - at}` }), el('th', { scope: 'row', class: 'made mono', text: step(one.CreatedBy || one.Comment || '–') }),
        el('td', { text: one.Created > 0 ? ago(one.Created) : '–' }), el('td', { class: 'number', text: one.Size ? bytes(one.Size) : 'no files' }),
        el('td', {}, el('meter', { min: 0, max: most, value: one.Size, 'aria-label': `${bytes(one.Size)} of the largest layer's ${bytes(most)}` })))));
    },
  };
}

export const images = (id) => (id ? layers(id) : list());
