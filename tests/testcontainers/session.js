// A session with testcontainers for Node. Prints `ok STEP` or `not ok STEP` for each.

const assert = require("node:assert/strict");
const { GenericContainer, Network, Wait } = require("testcontainers");

const IMAGE = "busybox:latest";
const SERVE = ["httpd", "-f", "-p", "80", "-h", "/etc"];

const steps = {
  async a_log_line_is_waited_for() {
    const made = await new GenericContainer(IMAGE).withCommand(["sh", "-c", "echo ready; sleep 1000"])
      .withWaitStrategy(Wait.forLogMessage("ready")).start();
    const { output, exitCode } = await made.exec(["sh", "-c", "echo inside; exit 3"]);
    assert.deepEqual([output, exitCode], ["inside\n", 3]);
    await made.stop();
  },
  async a_port_is_waited_for() {
    const made = await new GenericContainer(IMAGE).withCommand(SERVE).withExposedPorts(80)
      .withWaitStrategy(Wait.forHttp("/group", 80)).start();
    const answer = await fetch(`http://${made.getHost()}:${made.getMappedPort(80)}/group`);
    assert.match(await answer.text(), /root/);
    await made.restart({ timeout: 0 });
    await made.stop();
  },
  async health_is_waited_for() {
    const made = await new GenericContainer(IMAGE).withCommand(["sleep", "1000"])
      .withHealthCheck({ test: ["CMD", "true"], interval: 100, timeout: 5000, retries: 3, startPeriod: 0 })
      .withWaitStrategy(Wait.forHealthCheck()).start();
    await made.stop();
  },
  async files_go_in_and_out() {
    const made = await new GenericContainer(IMAGE).withCommand(["sleep", "1000"])
      .withCopyContentToContainer([{ content: "copied", target: "/tmp/file" }]).start();
    assert.equal((await made.exec(["cat", "/tmp/file"])).output, "copied");
    let size = 0;
    for await (const piece of await made.copyArchiveFromContainer("/tmp/file")) size += piece.length;
    assert.ok(size >= 1024);
    await made.stop();
  },
  async containers_on_a_network_find_each_other() {
    const network = await new Network().start();
    const server = await new GenericContainer(IMAGE).withCommand(SERVE).withNetwork(network).withNetworkAliases("server").start();
    const client = await new GenericContainer(IMAGE).withCommand(["sleep", "1000"]).withNetwork(network).start();
    const { output } = await client.exec(["sh", "-c", "until wget -q -O - http://server/group; do :; done"]);
    assert.match(output, /root/);
    await client.stop();
    await server.stop();
    await network.stop();
  },
  async a_start_that_fails_says_why() {
    await assert.rejects(new GenericContainer(IMAGE).withCommand(["nosuch"]).start(), /not found/);
  },
};

(async () => {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      console.log(`ok node::${name}`);
    } catch (error) {
      console.log(`not ok node::${name}`);
      console.log(String(error.stack).replace(/^/gm, "  "));
    }
  }
  // Its connection to the reaper would keep it here, as it is meant to.
  process.exit(0);
})();
