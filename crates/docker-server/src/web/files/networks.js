// Networks, drawn with the containers that are on them.

import { get } from './api.js';
import { el, Rows, say, svg, table } from './dom.js';
import { fits, nameOf, shortId } from './text.js';

const COLUMNS = ['Name', 'Driver', 'Scope', 'Subnets', '#Containers'];
/** Of the drawing, in its own units. */
const [WIDTH, NODE, HIGH, GAP] = [920, 290, 40, 14];
/** Between two lines that end at one node: each has its address above it. */
const APART = 14;
/** The longest texts, in characters, of the two lines of a node. */
const [NAME, BELOW] = [36, 46];

const clip = (text, longest) => (text.length > longest ? `${text.slice(0, longest - 1)}…` : text);

const subnets = (network) => (network.IPAM?.Config ?? []).map((one) => one.Subnet).filter(Boolean).join(', ');

/** Which containers are on which networks, with their addresses. */
function links(containers) {
  return containers.flatMap((container) => Object.entries(container.NetworkSettings?.Networks ?? {}).map(([name, one]) =>
    ({ container: container.Id, network: one.NetworkID, name, address: one.IPAddress || one.GlobalIPv6Address || '' })));
}

function box(kind, at, name, below, href) {
  const inner = [
    svg('title', {}, name),
    svg('rect', { width: NODE, height: at.high, rx: 5 }),
    svg('text', { x: 12, y: 17 }, clip(name, NAME)), svg('text', { x: 12, y: 32, class: 'below' }, clip(below, BELOW)),
  ];
  const node = svg('g', { class: `node ${kind}`, transform: `translate(${at.x} ${at.y})` }, ...inner);
  return href ? svg('a', { href, 'aria-label': `Container ${name}` }, node) : node;
}

/** Places a column's nodes in the middle of the drawing's height. */
function column(items, x, height, high) {
  let y = (height - tall(items, high)) / 2;
  return new Map(items.map((item) => {
    const at = { x, y, high: high(item) };
    y += at.high + GAP;
    return [item.Id, at];
  }));
}

const tall = (items, high) => items.reduce((sum, item) => sum + high(item) + GAP, -GAP);

/** In an order in which few lines cross: each container near the middle of its networks. */
function near(containers, networks, edges) {
  const at = new Map(networks.map((one, place) => [one.Id, place]));
  const middle = new Map(containers.map(({ Id: id }) => {
    const places = edges.filter((edge) => edge.container === id && at.has(edge.network)).map((edge) => at.get(edge.network));
    return [id, places.reduce((sum, one) => sum + one, 0) / Math.max(1, places.length)];
  }));
  return containers.toSorted((a, b) => middle.get(a.Id) - middle.get(b.Id));
}

function draw(networks, there, edges) {
  const containers = near(there, networks, edges);
  const places = new Map(networks.map((one, place) => [one.Id, place]));
  // What ends at a node, in the order in which it comes.
  const ends = (container) => edges.filter((edge) => edge.container === container && places.has(edge.network))
    .toSorted((a, b) => places.get(a.network) - places.get(b.network));
  const [low, high] = [() => HIGH, (container) => Math.max(HIGH, ends(container.Id).length * APART)];
  const height = Math.max(HIGH, tall(networks, low), tall(containers, high)) + 2 * GAP;
  const left = column(networks, 8, height, low);
  const right = column(containers, WIDTH - NODE - 8, height, high);
  const paths = containers.flatMap(({ Id: id }) => ends(id).flatMap((edge, at, all) => {
    const [from, to] = [left.get(edge.network), right.get(id)];
    const [x1, y1, x2, y2] = [from.x + NODE, from.y + from.high / 2, to.x, to.y + (to.high * (at + 0.5)) / all.length];
    const middle = (x1 + x2) / 2;
    return [
      svg('path', { class: 'edge', d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` }),
      edge.address ? svg('text', { class: 'address', x: x2 - 8, y: y2 - 3, 'text-anchor': 'end' }, edge.address) : null,
    ];
  }));
  const nodes = [
    ...networks.map((one) => box('network', left.get(one.Id), one.Name, [one.Driver, subnets(one)].filter(Boolean).join('  '))),
    ...containers.map((one) => box(`container ${one.State}`, right.get(one.Id), nameOf(one), one.State, `#/containers/${one.Id}`)),
  ];
  return svg('svg', { class: 'graph', role: 'group', 'aria-label': `${networks.length} networks and ${containers.length} containers`, viewBox: `0 0 ${WIDTH} ${height}` }, ...paths.filter(Boolean), ...nodes);
}

function row() {
  const cells = COLUMNS.map(() => el('span'));
  const node = el('tr', {}, el('th', { scope: 'row' }, cells[0]), el('td', {}, cells[1]), el('td', {}, cells[2]), el('td', { class: 'mono' }, cells[3]), el('td', { class: 'number' }, cells[4]));
  return {
    node,
    update: ({ network, count }) => [network.Name, network.Driver, network.Scope, subnets(network) || '–', `${count}`].forEach((text, at) => say(cells[at], text)),
  };
}

export function networks() {
  const place = el('div', { class: 'drawing' });
  const { node, body } = table('Networks', COLUMNS);
  const rows = new Rows(body, COLUMNS.length, row);
  const count = el('span', { class: 'dim' });
  let [all, there, edges, search, drawn] = [[], [], [], '', ''];
  const show = () => {
    const found = all.filter((one) => fits([one.Name, one.Driver, subnets(one), shortId(one.Id)], search)
      || edges.some((edge) => edge.network === one.Id && there.some((other) => other.Id === edge.container && fits([nameOf(other)], search))));
    const on = new Set(edges.filter((edge) => found.some((one) => one.Id === edge.network)).map((edge) => edge.container));
    const shown = there.filter((one) => on.has(one.Id));
    say(count, `${all.length}`);
    // What looks the same is left as it is: somebody may be on it with the keyboard.
    const now = JSON.stringify([found, shown.map((one) => [one.Id, one.Names, one.State]), edges]);
    if (now !== drawn) place.replaceChildren(draw(found, shown, edges));
    drawn = now;
    rows.show(found.map((network) => ({ network, count: edges.filter((edge) => edge.network === network.Id).length })), ({ network }) => network.Id,
      `None of ${all.length} networks has “${search}”.`);
  };
  return {
    node: [el('div', { class: 'head' }, el('h1', { text: 'Networks' }), count), place, el('div', { class: 'wide' }, node)],
    update: async () => {
      [all, there] = await Promise.all([get('/networks'), get('/containers/json?all=1')]);
      all.sort((a, b) => a.Name.localeCompare(b.Name));
      there.sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
      edges = links(there).map((edge) => ({ ...edge, network: all.find((one) => one.Id === edge.network || one.Name === edge.name)?.Id }));
      show();
    },
    search: (text) => {
      search = text;
      show();
    },
  };
}
