// Makes elements. What others have said (names, labels, lines of logs) becomes text and never markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, facts, children) {
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const el = (name, facts = {}, ...children) => fill(document.createElement(name), facts, children);

export const svg = (name, facts = {}, ...children) => fill(document.createElementNS(SVG, name), facts, children);

/** Sets a text if it is another one: nothing flickers, and what somebody has selected stays so. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A button with a word on it. */
export const button = (text, label, act, more = {}) =>
  el('button', { type: 'button', text, 'aria-label': label, title: label, onclick: act, ...more });

/** A table with a head; the cells of a column named `#…` are numbers. */
export function table(label, columns) {
  const head = columns.map((name) =>
    el('th', { scope: 'col', class: name.startsWith('#') ? 'number' : null, text: name.replace('#', '') }));
  const body = el('tbody');
  return { node: el('table', { 'aria-label': label }, el('thead', {}, el('tr', {}, ...head)), body), body };
}

/** Brings the rows of a table in line with a list. A row stays the same element for as long as its key is there. */
export class Rows {
  constructor(body, columns, make) {
    this.body = body;
    this.columns = columns;
    this.make = make;
    this.rows = new Map();
    this.empty = null;
  }

  show(items, key, empty) {
    const place = [...this.body.children].findIndex((row) => row.contains(document.activeElement));
    const before = this.rows;
    this.rows = new Map();
    let at = this.body.firstChild;
    if (this.empty) {
      if (at === this.empty) at = at.nextSibling;
      this.empty.remove();
      this.empty = null;
    }
    for (const item of items) {
      const name = key(item);
      if (this.rows.has(name)) continue;
      const row = before.get(name) ?? this.make(item);
      before.delete(name);
      this.rows.set(name, row);
      row.update(item);
      if (row.node === at) at = at.nextSibling;
      else this.body.insertBefore(row.node, at);
    }
    for (const row of before.values()) this.drop(row);
    if (!items.length) {
      this.empty = el('tr', { class: 'empty' }, el('td', { colspan: this.columns, text: empty }));
      this.body.append(this.empty);
    }
    // Who was in a row that has gone goes on where it was.
    if (place >= 0 && !this.body.contains(document.activeElement)) {
      const near = this.body.children[Math.min(place, this.body.children.length - 1)];
      (near.querySelector('a, button:not([hidden])') ?? document.getElementById('main')).focus();
    }
  }

  drop(row) {
    row.close?.();
    row.node.remove();
  }

  close() {
    for (const row of this.rows.values()) row.close?.();
  }
}

/** A dialog; what the pressed button is called, or nothing if it was left. */
export function ask(title, content, answers) {
  const dialog = document.getElementById('dialog');
  return new Promise((resolve) => {
    const buttons = answers.map(({ text, danger }) =>
      el('button', { type: 'button', text, class: danger ? 'danger' : null, onclick: () => dialog.close(text) }));
    dialog.replaceChildren(
      el('h2', { id: 'dialog-title', text: title }), ...content, el('div', { class: 'answers' }, ...buttons));
    dialog.returnValue = '';
    dialog.addEventListener('close', () => resolve(dialog.returnValue || null), { once: true });
    dialog.showModal();
    buttons[0].focus();
  });
}
