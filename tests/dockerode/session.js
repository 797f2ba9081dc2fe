// A session with dockerode, as web interfaces and agents have it. Prints `ok STEP` or `not ok STEP` for each.

const assert = require("node:assert/strict");
const { PassThrough } = require("node:stream");
const Docker = require("dockerode");

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace("unix://", "") });
const IMAGE = "busybox:latest";

function collect(stream) {
  return new Promise((resolve, reject) => {
    let text = "";
    stream.on("data", (data) => (text += data));
    stream.on("end", () => resolve(text));
    stream.on("error", reject);
  });
}

// What a multiplexed stream carries on both of its sides.
async function sides(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on("end", () => (out.end(), err.end()));
  return Promise.all([collect(out), collect(err)]);
}

function follow(stream) {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, lines) => (error ? reject(error) : resolve(lines))));
}

async function refused(code, promise) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.statusCode, code, error.message);
    assert.ok(error.reason || error.json?.message, "it says why");
    return true;
  });
}

// A container that has started, for as long as `use` takes.
async function container(options, use) {
  const made = await docker.createContainer({ Image: IMAGE, Cmd: ["sleep", "1000"], ...options });
  try {
    await made.start();
    return await use(made);
  } finally {
    await made.remove({ force: true, v: true });
  }
}

const steps = {
  async ping_version_and_info() {
    assert.equal((await docker.ping()).toString(), "OK");
    assert.equal((await docker.version()).Os, "linux");
    assert.equal((await docker.info()).OSType, "linux");
    assert.ok(Array.isArray((await docker.df()).Images));
  },
  async run_gives_output_and_code() {
    const out = new PassThrough();
    const text = collect(out);
    const [result, made] = await docker.run(IMAGE, ["sh", "-c", "echo out; exit 3"], out, { Tty: true });
    out.end();
    assert.equal(await text, "out\r\n");
    assert.equal(result.StatusCode, 3);
    await made.remove();
  },
  async run_parts_output_and_errors() {
    const [out, err] = [new PassThrough(), new PassThrough()];
    const texts = Promise.all([collect(out), collect(err)]);
    await docker.run(IMAGE, ["sh", "-c", "echo out; echo err >&2"], [out, err], { Tty: false, HostConfig: { AutoRemove: true } });
    out.end();
    err.end();
    assert.deepEqual(await texts, ["out\n", "err\n"]);
  },
  async attach_feeds_and_half_closes() {
    const made = await docker.createContainer({
      Image: IMAGE, Cmd: ["cat"], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true });
    const stream = await made.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    const texts = sides(stream);
    await made.start();
    stream.end("fed\n");
    assert.equal((await made.wait()).StatusCode, 0);
    assert.deepEqual(await texts, ["fed\n", ""]);
    await made.remove();
  },
  async exec_with_input_and_code() {
    await container({}, async (made) => {
      const exec = await made.exec({ Cmd: ["sh", "-c", "cat; echo err >&2; exit 5"], AttachStdin: true, AttachStdout: true, AttachStderr: true });
      const stream = await exec.start({ hijack: true, stdin: true });
      const texts = sides(stream);
      stream.end("fed\n");
      assert.deepEqual(await texts, ["fed\n", "err\n"]);
      const told = await exec.inspect();
      assert.deepEqual([told.Running, told.ExitCode], [false, 5]);
    });
  },
  async exec_with_a_terminal_and_its_size() {
    await container({}, async (made) => {
      const exec = await made.exec({ Cmd: ["sh"], Tty: true, AttachStdin: true, AttachStdout: true, AttachStderr: true });
      const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
      await exec.resize({ h: 33, w: 99 });
      const text = collect(stream);
      stream.write("stty size; exit\n");
      assert.match(await text, /33 99/);
    });
  },
  async logs_at_once_and_as_they_come() {
    const made = await docker.createContainer({ Image: IMAGE, Cmd: ["sh", "-c", "echo first; echo second >&2"] });
    await made.start();
    await made.wait();
    const whole = await made.logs({ stdout: true, stderr: true, follow: true });
    assert.deepEqual((await sides(whole)).join(""), "first\nsecond\n");
    const last = await made.logs({ stdout: true, stderr: false, timestamps: true });
    assert.match(last.toString(), /^.{8}\d{4}-.*Z first\n$/s);
    await made.remove();
  },
  async events_as_they_come() {
    const events = await docker.getEvents({ filters: { type: ["container"], label: ["by=dockerode"] } });
    const seen = [];
    const ended = new Promise((resolve) => events.on("data", (data) => {
      for (const line of data.toString().trim().split("\n")) seen.push(JSON.parse(line).Action);
      if (seen.includes("destroy")) resolve();
    }));
    await container({ Labels: { by: "dockerode" } }, async () => {});
    await ended;
    events.destroy();
    assert.deepEqual([seen.slice(0, 2), seen.at(-1)], [["create", "start"], "destroy"]);
  },
  async stats_once_and_in_a_row() {
    await container({ HostConfig: { Memory: 64 << 20 } }, async (made) => {
      assert.equal((await made.stats({ stream: false })).memory_stats.limit, 64 << 20);
      const stream = await made.stats({ stream: true });
      const first = await new Promise((resolve) => stream.once("data", resolve));
      stream.destroy();
      assert.equal(JSON.parse(first).id, made.id);
    });
  },
  async lists_and_filters() {
    await container({ name: "dockerode-listed", Labels: { by: "dockerode" } }, async (made) => {
      const found = await docker.listContainers({ filters: { label: ["by=dockerode"] } });
      assert.deepEqual(found.map((one) => [one.Id, one.State, one.Names]), [[made.id, "running", ["/dockerode-listed"]]]);
      assert.equal((await docker.getContainer("dockerode-listed").inspect()).Id, made.id);
      const top = await made.top({ ps_args: "-o pid,comm" });
      assert.deepEqual([top.Titles.at(-1), top.Processes[0].at(-1)], ["COMMAND", "sleep"]);
    });
  },
  async life() {
    await container({}, async (made) => {
      await made.pause();
      assert.equal((await made.inspect()).State.Status, "paused");
      await made.unpause();
      await made.rename({ name: "dockerode-renamed" });
      await made.update({ Memory: 64 << 20, MemorySwap: -1 });
      assert.equal((await made.inspect()).HostConfig.Memory, 64 << 20);
      await made.kill({ signal: "SIGKILL" });
      assert.equal((await made.wait()).StatusCode, 137);
      await made.start();
      await refused(304, made.start());
      await made.restart({ t: 0 });
      await made.stop({ t: 0 });
      await refused(304, made.stop());
    });
  },
  async archives_both_ways() {
    await container({}, async (made) => {
      const archive = await collect((await made.getArchive({ path: "/etc/passwd" })).setEncoding("latin1"));
      assert.match(archive, /^passwd\0/);
      await made.putArchive(Buffer.from(archive, "latin1"), { path: "/tmp" });
      const exec = await made.exec({ Cmd: ["cmp", "/etc/passwd", "/tmp/passwd"] });
      await (await exec.start({ Detach: true })).resume?.();
      while ((await exec.inspect()).ExitCode === null) await new Promise(setImmediate);
      assert.equal((await exec.inspect()).ExitCode, 0);
      assert.ok((await made.infoArchive({ path: "/tmp" })).headers?.["x-docker-container-path-stat"] !== "");
      assert.ok((await made.changes()).some((change) => change.Path === "/tmp/passwd"));
    });
  },
  async images() {
    const image = docker.getImage(IMAGE);
    const { Id } = await image.inspect();
    await image.tag({ repo: "dockerode", tag: "one" });
    assert.ok((await docker.listImages()).some((one) => one.Id === Id && one.RepoTags.includes("dockerode:one")));
    assert.equal((await image.history()).length, 1);
    const archive = await image.get();
    await follow(await docker.loadImage(archive));
    assert.deepEqual(await docker.getImage("dockerode:one").remove(), [{ Untagged: "dockerode:one" }]);
    await refused(404, docker.getImage("nosuch").inspect());
  },
  async a_commit_is_an_image() {
    await container({}, async (made) => {
      const { Id } = await made.commit({ repo: "dockerode", tag: "two", comment: "said" });
      assert.equal((await docker.getImage("dockerode:two").inspect()).Id, Id);
      await docker.getImage("dockerode:two").remove();
    });
  },
  async a_pull_that_fails_says_so() {
    const pull = docker.pull("127.0.0.1:1/nosuch:1").then(follow);
    await assert.rejects(pull, /refused|connect/i);
  },
  async networks() {
    const made = await docker.createNetwork({ Name: "dockerode-net", Labels: { by: "dockerode" }, CheckDuplicate: true });
    try {
      await refused(409, docker.createNetwork({ Name: "dockerode-net", CheckDuplicate: true }));
      await container({ HostConfig: { NetworkMode: "dockerode-net" }, NetworkingConfig: { EndpointsConfig: { "dockerode-net": { Aliases: ["also"] } } } }, async (one) => {
        assert.ok(one.id in (await made.inspect()).Containers);
        await made.disconnect({ Container: one.id });
        await made.connect({ Container: one.id });
        assert.ok((await one.inspect()).NetworkSettings.Networks["dockerode-net"].IPAddress);
        await refused(403, made.remove());
      });
    } finally {
      await made.remove();
    }
  },
  async volumes() {
    const made = await docker.createVolume({ Name: "dockerode-vol", Labels: { by: "dockerode" } });
    assert.equal(made.Name ?? made.name, "dockerode-vol");
    const volume = docker.getVolume("dockerode-vol");
    assert.deepEqual((await volume.inspect()).Labels, { by: "dockerode" });
    assert.equal((await docker.listVolumes({ filters: { label: ["by=dockerode"] } })).Volumes.length, 1);
    await container({ HostConfig: { Binds: ["dockerode-vol:/x"] } }, async () => refused(409, volume.remove()));
    await volume.remove();
    await refused(404, volume.inspect());
  },
  async ports_that_are_published() {
    const options = { Cmd: ["httpd", "-f", "-p", "80", "-h", "/etc"], ExposedPorts: { "80/tcp": {} },
      HostConfig: { PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "0" }] } } };
    await container(options, async (made) => {
      const [port] = (await made.inspect()).NetworkSettings.Ports["80/tcp"];
      for (;;) {
        const answer = await fetch(`http://127.0.0.1:${port.HostPort}/group`).catch(() => undefined);
        if (answer) return assert.match(await answer.text(), /root:x:0/);
      }
    });
  },
  async a_checked_container_becomes_healthy() {
    await container({ Healthcheck: { Test: ["CMD", "true"], Interval: 100_000_000, Retries: 3 } }, async (made) => {
      while ((await made.inspect()).State.Health.Status !== "healthy") await new Promise(setImmediate);
    });
  },
  async the_socket_in_a_container_is_the_services() {
    const socket = process.env.DOCKER_HOST.replace("unix://", "");
    await container({ HostConfig: { Binds: [`${socket}:/var/run/docker.sock`] } }, async (made) => {
      const exec = await made.exec({ AttachStdout: true, Cmd: ["sh", "-c", "test -S /var/run/docker.sock && echo socket"] });
      assert.deepEqual(await sides(await exec.start({ hijack: true })), ["socket\n", ""]);
    });
  },
  async prunes() {
    for (const prune of ["pruneContainers", "pruneImages", "pruneNetworks", "pruneVolumes"])
      assert.ok(await docker[prune]());
  },
  async what_is_of_a_swarm_says_so() {
    await refused(503, docker.listServices());
    await refused(503, docker.swarmInspect());
  },
};

(async () => {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`not ok ${name}`);
      console.log(String(error.stack).replace(/^/gm, "  "));
    }
  }
  // What a step has left open is none of the next program's business.
  process.exit(0);
})();
