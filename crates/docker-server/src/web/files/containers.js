// The list of containers, each that runs with its readings as they come.

import { get } from './api.js';
import { el, Rows, say, table } from './dom.js';
import { Plot, readings } from './plot.js';
import { bytes, fits, nameOf, percent, ports } from './text.js';
import { verbs } from './verbs.js';

const COLUMNS = ['Name', 'Image', 'State', 'CPU', 'Memory', 'Ports', ''];
const SMALL = { width: 96, height: 22, kept: 60 };

/** A container's row. Readings are followed while it runs and is seen: what is scrolled away costs nothing. */
function row(first, seen) {
  const id = first.Id;
  const link = el('a', { href: `#/containers/${id}` });
  const [image, told, cpu, memory, open] = ['', '', '', '', ''].map(() => el('span'));
  const dot = el('span', { class: 'dot', 'aria-hidden': 'true' });
  const plots = {
    cpu: new Plot('CPU', { ...SMALL, least: 5, tell: percent }),
    memory: new Plot('Memory', { ...SMALL, least: 1e6, tell: bytes }),
  };
  const acts = verbs(id);
  const node = el('tr', { 'data-id': id },
    el('th', { scope: 'row' }, dot, link), el('td', { class: 'clip' }, image), el('td', {}, told),
    el('td', { class: 'reading' }, plots.cpu.node, cpu), el('td', { class: 'reading' }, plots.memory.node, memory),
    el('td', { class: 'clip' }, open), el('td', { class: 'acts' }, acts.node));
  let [line, runs, visible] = [null, false, false];

  const tell = (now) => {
    plots.cpu.add(now.cpu);
    plots.memory.add(now.memory);
    say(cpu, percent(now.cpu));
    say(memory, bytes(now.memory));
  };
  const follow = () => {
    if (runs && visible) line ??= readings(id, tell, () => (line = null));
    else {
      line?.close();
      line = null;
    }
  };
  seen.observe(node);
  node.addEventListener('seen', ({ detail }) => {
    visible = detail;
    follow();
  });
  return {
    node,
    update: (container) => {
      const name = nameOf(container);
      const running = container.State === 'running';
      // One that was started again is another process, with readings of its own.
      if (running !== runs) {
        runs = running;
        line?.close();
        line = null;
      }
      // Those that ended with the service go on.
      follow();
      say(link, name);
      say(image, container.Image);
      image.title = container.Image;
      say(told, container.Status || container.State);
      say(open, ports(container.Ports));
      if (!running) [cpu, memory].forEach((place) => say(place, '–'));
      dot.dataset.state = container.State;
      plots.cpu.label = `CPU of ${name}`;
      plots.memory.label = `Memory of ${name}`;
      acts.show(name, running || container.State === 'paused' || container.State === 'restarting');
    },
    close: () => {
      seen.unobserve(node);
      line?.close();
    },
  };
}

export function containers() {
  const { node, body } = table('Containers', COLUMNS);
  const count = el('span', { class: 'dim' });
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) target.dispatchEvent(new CustomEvent('seen', { detail: isIntersecting }));
  });
  const rows = new Rows(body, COLUMNS.length, (container) => row(container, seen));
  let [list, search] = [[], ''];
  const show = () => {
    const found = list.filter((one) => fits([nameOf(one), one.Image, one.Status, one.Id, ports(one.Ports)], search));
    const running = list.filter((one) => one.State === 'running').length;
    say(count, `${running} running, ${list.length} in all`);
    rows.show(found, (one) => one.Id, list.length ? `None of ${list.length} containers has “${search}”.` : 'There are no containers. Make one: dhow run -d IMAGE');
  };
  return {
    node: [el('div', { class: 'head' }, el('h1', { text: 'Containers' }), count), el('div', { class: 'wide' }, node)],
    ages: true,
    update: async () => {
      list = await get('/containers/json?all=1');
      show();
    },
    search: (text) => {
      search = text;
      show();
    },
    close: () => {
      rows.close();
      seen.disconnect();
    },
  };
}
