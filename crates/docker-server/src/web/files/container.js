// One container: what it is, its readings, its logs, a terminal in it.

import { get } from './api.js';
import { el, say } from './dom.js';
import { logs } from './logs.js';
import { Chart, readings } from './plot.js';
import { terminal } from './terminal.js';
import { bytes, percent, shortId } from './text.js';
import { verbs } from './verbs.js';

const TABS = [['overview', 'Overview'], ['logs', 'Logs'], ['terminal', 'Terminal']];

function facts(found) {
  const list = (things) => (things.length ? things : ['–']);
  const { Config: config, HostConfig: host, NetworkSettings: network, State: state } = found;
  const published = Object.entries(network.Ports ?? {}).flatMap(([port, at]) => (at ?? []).map((one) => `${one.HostIp}:${one.HostPort} → ${port}`));
  return [
    ['Id', [shortId(found.Id)]],
    ['Image', [config.Image]],
    ['Command', [[found.Path, ...(found.Args ?? [])].join(' ')]],
    ['State', [state.Status + (state.Health ? `, ${state.Health.Status}` : '') + (state.Running ? '' : `, code ${state.ExitCode}${state.Error ? `: ${state.Error}` : ''}`)]],
    ['Created', [new Date(found.Created).toLocaleString()]],
    ['Restart', [host.RestartPolicy?.Name || 'no']],
    ['Networks', list(Object.entries(network.Networks ?? {}).map(([name, one]) => [name, one.IPAddress, one.GlobalIPv6Address].filter(Boolean).join('  ')))],
    ['Ports', list(published)],
    ['Mounts', list((found.Mounts ?? []).map((one) => `${one.Name || one.Source} → ${one.Destination}${one.RW ? '' : ' (read-only)'}`))],
    ['Labels', list(Object.entries(config.Labels ?? {}).map(([name, value]) => `${name}=${value}`))],
  ];
}

function overview(id) {
  const charts = { cpu: new Chart('CPU', 5, percent), memory: new Chart('Memory', 1e6, bytes) };
  const more = el('p', { class: 'dim' });
  const told = el('dl');
  let [line, run] = [null, null];
  return {
    node: [el('div', { class: 'charts' }, charts.cpu.node, charts.memory.node), more, told],
    update: (found) => {
      told.replaceChildren(...facts(found).flatMap(([name, values]) => [el('dt', { text: name }), el('dd', {}, ...values.map((text) => el('div', { text })))]));
      if (!found.State.Running) {
        line?.close();
        line = null;
        say(more, 'It does not run: there is nothing to measure.');
        return;
      }
      // Another run is another process, with readings of its own.
      if (found.State.StartedAt !== run) line?.close();
      if (found.State.StartedAt !== run) line = null;
      run = found.State.StartedAt;
      line ??= readings(id, (now) => {
        charts.cpu.add(now.cpu);
        charts.memory.add(now.memory, now.limit ? ` of ${bytes(now.limit)}` : '');
        say(more, `${now.pids} processes · network: ${bytes(now.received)} received, ${bytes(now.sent)} sent`);
      }, () => (line = null));
    },
    close: () => line?.close(),
  };
}

export function container(id, tab = 'overview') {
  const made = { overview, logs, terminal }[tab] ?? overview;
  const [title, dot] = [el('h1', { text: shortId(id) }), el('span', { class: 'dot', 'aria-hidden': 'true' })];
  const acts = verbs(id, () => (location.hash = '#/containers'));
  const tabs = el('nav', { class: 'tabs', 'aria-label': 'Parts of the container' }, ...TABS.map(([path, name]) =>
    el('a', { href: `#/containers/${id}/${path}`, text: name, 'aria-current': path === tab ? 'page' : null })));
  const part = made(id);
  return {
    node: [
      el('div', { class: 'head' }, el('a', { href: '#/containers', class: 'back', 'aria-label': 'Back to all containers', text: '←' }), dot, title, acts.node),
      tabs, ...[part.node].flat(),
    ],
    update: async () => {
      const found = await get(`/containers/${id}/json`);
      const name = found.Name.replace(/^\//, '');
      say(title, name);
      dot.dataset.state = found.State.Status;
      acts.show(name, found.State.Running || found.State.Paused || found.State.Restarting);
      await part.update(found);
    },
    search: (text) => part.search?.(text),
    close: () => part.close?.(),
  };
}
