// What happens, as it happens, and what has happened in the last hour.

import { el, Rows, say, table } from './dom.js';
import { clock, fits, shortId } from './text.js';

const COLUMNS = ['Time', 'Kind', 'What', 'Name', 'More'];
/** Lines that are shown. */
const SHOWN = 300;

const name = ({ Actor: { ID: id, Attributes: more = {} } }) => more.name || (id.length === 64 ? shortId(id) : id);
const rest = ({ Actor: { Attributes: more = {} } }) => Object.entries(more).filter(([key]) => key !== 'name').map(([key, value]) => `${key}=${value}`).join('  ');

function row(event) {
  const more = rest(event);
  const called = name(event);
  const where = event.Type === 'container' && event.Action !== 'destroy' ? el('a', { href: `#/containers/${event.Actor.ID}`, text: called }) : el('span', { text: called });
  return {
    node: el('tr', {}, el('td', { class: 'mono', text: clock(event.time) }), el('td', { text: event.Type }), el('td', { class: 'clip', text: event.Action, title: event.Action }),
      el('td', { class: 'clip' }, where), el('td', { class: 'clip mono dim', text: more, title: more })),
    update: () => {},
  };
}

export function events(journal) {
  const { node, body } = table('Events', COLUMNS);
  const rows = new Rows(body, COLUMNS.length, row);
  const count = el('span', { class: 'dim' });
  let [search, due] = ['', false];
  const show = () => {
    due = false;
    const found = journal.list.filter((one) => fits([one.Type, one.Action, name(one), rest(one)], search)).slice(-SHOWN).reverse();
    say(count, `${found.length} of ${journal.list.length}`);
    rows.show(found, (one) => `${one.timeNano} ${one.Action} ${one.Actor.ID}`, journal.list.length ? `None of ${journal.list.length} events has “${search}”.` : 'Nothing has happened in the last hour.');
  };
  journal.heard = () => {
    if (!due) requestAnimationFrame(show);
    due = true;
  };
  show();
  return {
    node: [el('div', { class: 'head' }, el('h1', { text: 'Events' }), count), el('div', { class: 'wide' }, node)],
    search: (text) => {
      search = text;
      show();
    },
    close: () => (journal.heard = null),
  };
}
