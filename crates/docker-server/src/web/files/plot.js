// A line of the last readings, and the readings of a container.

import { follow } from './api.js';
import { el, say, svg } from './dom.js';

/** How many readings are kept of what is shown large: two minutes of them. */
const KEPT = 120;

/** A plot of numbers, the newest at the right. `least` is the least that its top stands for. */
export class Plot {
  constructor(label, { width, height, kept, least, tell }) {
    Object.assign(this, { width, height, kept, least, tell, label });
    this.values = [];
    this.area = svg('polygon', { class: 'area' });
    this.line = svg('polyline', { class: 'line' });
    this.node = svg('svg', {
      class: 'plot', role: 'img', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-label': label,
    }, this.area, this.line);
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > this.kept) this.values.shift();
    this.draw();
  }

  /** What the top stands for: the most that is shown, in even steps. */
  top() {
    const most = Math.max(this.least, ...this.values);
    const step = 10 ** Math.floor(Math.log10(most));
    return Math.ceil((most * 1.05) / step) * step;
  }

  draw() {
    const top = this.top();
    const step = this.width / (this.kept - 1);
    const from = this.width - (this.values.length - 1) * step;
    const points = this.values.map((value, at) =>
      `${(from + at * step).toFixed(1)},${(this.height - 1 - (value / top) * (this.height - 2)).toFixed(1)}`);
    this.line.setAttribute('points', points.join(' '));
    this.area.setAttribute('points', `${from.toFixed(1)},${this.height} ${points.join(' ')} ${this.width},${this.height}`);
    this.node.setAttribute('data-points', this.values.length);
    this.node.setAttribute('aria-label', `${this.label}: ${this.tell(this.values.at(-1))}`);
  }
}

/** A plot with its name, its last value and what its top stands for. */
export class Chart {
  constructor(name, least, tell) {
    this.tell = tell;
    this.plot = new Plot(name, { width: 480, height: 110, kept: KEPT, least, tell });
    this.value = el('output', { text: '–' });
    this.top = el('span', { class: 'dim' });
    this.node = el('figure', { class: 'chart' },
      el('figcaption', {}, el('span', { text: name }), this.value, this.top),
      this.plot.node, el('div', { class: 'axis dim' }, el('span', { text: '2 min ago' }), el('span', { text: 'now' })));
  }

  add(value, more = '') {
    this.plot.add(value);
    say(this.value, this.tell(value) + more);
    say(this.top, `top ${this.tell(this.plot.top())}`);
  }
}

/** What a reading says: processors in percent of one, memory without what could be dropped at once. */
function figures(now, before) {
  const spent = now.cpu_stats.cpu_usage.total_usage - (before?.cpu ?? NaN);
  const passed = (now.cpu_stats.system_cpu_usage ?? 0) - (before?.system ?? NaN);
  const cpus = now.cpu_stats.online_cpus || now.cpu_stats.cpu_usage.percpu_usage?.length || 1;
  const memory = now.memory_stats ?? {};
  const droppable = memory.stats?.inactive_file ?? memory.stats?.total_inactive_file ?? 0;
  const networks = Object.values(now.networks ?? {});
  return {
    cpu: passed > 0 && spent >= 0 ? (spent / passed) * cpus * 100 : 0,
    memory: Math.max(0, (memory.usage ?? 0) - droppable),
    limit: memory.limit ?? 0,
    received: networks.reduce((sum, one) => sum + one.rx_bytes, 0),
    sent: networks.reduce((sum, one) => sum + one.tx_bytes, 0),
    pids: now.pids_stats?.current ?? 0,
  };
}

/** Follows a container's readings until `close`. When they end, `ended` is called: they go on with the next update. */
export function readings(id, tell, ended) {
  let before = null;
  return follow(`/containers/${id}/stats?stream=1`, {
    each: (now) => {
      if (!now.cpu_stats?.cpu_usage) return;
      // The first reading has nothing before it to be compared with.
      if (before) tell(figures(now, before));
      before = { cpu: now.cpu_stats.cpu_usage.total_usage, system: now.cpu_stats.system_cpu_usage ?? 0 };
    },
    ended,
  });
}
